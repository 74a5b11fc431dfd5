"""How an API key is written: `<prefix><32 random characters>_<6 characters of checksum>`, all of them base62.

The prefix tells scanners of source code whose key it is; the checksum tells them, and us, without asking any database
that a text is no key at all. 32 characters are 190 bits, of which the ten that name the key are shown to people.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

RANDOM_LENGTH: Final = 32
CHECKSUM_LENGTH: Final = 6
#: So many of the random characters name the key; the others alone are as many bits as a session has.
PUBLIC_LENGTH: Final = 10
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM: Final = re.compile(rf"[0-9A-Za-z]{{{RANDOM_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """What a text that looks like a key says of itself; nothing in it is proven."""

    prefix: str
    #: Names the key in lists, logs and the database.
    public_id: str


def make(prefix: str, random_text: str) -> str:
    """The key of these random characters.

    Raises:
        ValueError: when they are too few, or not base62.
    """
    if not _RANDOM.fullmatch(random_text):
        raise ValueError(f"a key is made of {RANDOM_LENGTH} letters and digits")
    body = prefix + random_text
    return f"{body}_{checksum(body)}"


def parse(prefixes: Iterable[str], presented: str) -> ParsedKey | None:
    """The prefix and public id of a text in the form of a key with the right checksum, or None."""
    found = _pattern(frozenset(prefixes)).fullmatch(presented)
    if found is None or checksum(found["body"]) != found["checksum"]:
        return None
    return ParsedKey(found["prefix"], found["random"][:PUBLIC_LENGTH])


def checksum(text: str) -> str:
    """CRC32 of the text in six characters. It finds errors and keeps no secret."""
    number, characters = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, remainder = divmod(number, 62)
        characters = _BASE62[remainder] + characters
    return characters


@lru_cache(maxsize=16)
def _pattern(prefixes: frozenset[str]) -> re.Pattern[str]:
    # The characters after a prefix hold no underscore, so that no key could be read with two prefixes.
    beginnings = "|".join(re.escape(prefix) for prefix in sorted(prefixes))
    return re.compile(
        rf"(?P<body>(?P<prefix>{beginnings})(?P<random>[0-9A-Za-z]{{{RANDOM_LENGTH}}}))"
        rf"_(?P<checksum>[0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
    )
