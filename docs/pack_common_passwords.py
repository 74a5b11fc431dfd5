"""Packs a list of common passwords, the commonest first, into `server/infra/common_passwords.bin`.

    python docs/pack_common_passwords.py 10_million_password_list_top_1M.txt

The file in the repository holds the 100,000 commonest of eight characters and more from the ten million passwords that
Mark Burnett published and dedicated to the public domain in 2015, in the order of frequency that SecLists (MIT) gives
them: `Passwords/Common-Credentials/10-million-password-list-top-1000000.txt`. Only the beginnings of digests are kept.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from server.infra.common_passwords import PACKED, pack

COUNT = 100_000
#: Shorter ones are refused for their length.
MINIMUM_CHARACTERS = 8


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", nargs="+", type=Path, help="text files, one password a line, the commonest first")
    parser.add_argument("--count", type=int, default=COUNT, help="of each list (default: %(default)s)")
    options = parser.parse_args()
    chosen: list[str] = []
    for path in options.lists:
        with path.open(encoding="utf-8", errors="replace") as lines:
            passwords = (line.rstrip("\r\n") for line in lines)
            chosen += itertools.islice((each for each in passwords if len(each) >= MINIMUM_CHARACTERS), options.count)
    PACKED.write_bytes(pack(chosen))
    print(f"{len(chosen)} passwords in {PACKED.stat().st_size} bytes: {PACKED}")


if __name__ == "__main__":
    main()
