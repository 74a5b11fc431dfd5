"""Keys change, and nobody notices: rotations by schedule, at once, and in an emergency.

R-13   fifty rotations by schedule, in months of simulated time, on three replicas whose sweepers all act at once while
       tokens are issued: every token verifies, from its first second to its last, for every verifier that keeps the
       JWKS for five minutes to a day, behind a cache that keeps it a quarter of an hour more;
R-14   an emergency: all replicas sign with the new key within seconds, and whoever heeds `Cache-Control` believes the
       leaked one no longer than that;
R-15   three processes rotate at once, and three replicas start at once: one active key for each algorithm, at every
       moment; the key of each token is in the JWKS before the token is anybody's.

python -m tests.races.rotations
python -m tests.races.rotations --rotations 100 --rounds 50 --record

Exit status: 0 when every promise was kept, 1 when one was broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.races.compressed_time import simulate
from tests.races.results import Figures, conclude
from tests.races.rotations_at_once import emergency, rotated_at_once, started_at_once
from tests.races.stage import database, stage


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rotations", type=int, default=50, help="in simulated time (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="of three processes at once (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="leave the figures for docs/trust.md")
    options = parser.parse_args(arguments)
    figures: Figures = {}
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="gatepost-rotations-") as folder:
        figures, faults = simulate(Path(folder), options.rotations)
    with tempfile.TemporaryDirectory(prefix="gatepost-rotations-") as folder, database("postgres", Path(folder)) as url:
        more, found = started_at_once(url)
        figures, faults = figures | more, faults + found
    with stage("postgres") as on:
        for part in (rotated_at_once(on, options.rounds), emergency(on)):
            figures, faults = figures | part[0], faults + part[1]
    figures["broken promises"] = len(faults)
    return conclude("rotations", figures, faults, is_recorded=options.record)


if __name__ == "__main__":
    sys.exit(main())
