"""Passwords that attackers try first, and how many guesses another takes. Read when a password is set, never before.

`common_passwords.bin` holds the beginnings of SHA-256 digests, four bytes each, sorted: of other passwords one in some
40,000 is taken for one on the list. `docs/pack_common_passwords.py` makes the file and says from what.
"""

from __future__ import annotations

import hashlib
import importlib
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

PACKED: Final = Path(__file__).with_name("common_passwords.bin")
#: What zxcvbn looks at: it refuses more, and takes longer than a hash for it.
_EXAMINED_CHARACTERS: Final = 72
_WIDTH: Final = 4


def is_common(password: str) -> bool:
    """Whether the password is on the list, whatever its case."""
    packed, wanted = _packed(), _beginning(password)
    place = bisect_left(range(len(packed) // _WIDTH), wanted, key=lambda number: _entry(packed, number))
    return place * _WIDTH < len(packed) and _entry(packed, place) == wanted


def guesses_log10(password: str, words: Iterable[str]) -> float:
    """How many guesses a clever attacker needs, as a power of ten; `words` are those the attacker thinks of first.

    Of a long password the beginning is judged: with that alone it is at least as hard to guess.
    """
    # Loaded here: its word lists take megabytes that no worker needs to sign people in.
    judge = importlib.import_module("zxcvbn").zxcvbn
    return float(judge(password[:_EXAMINED_CHARACTERS], user_inputs=list(words))["guesses_log10"])


def pack(passwords: Iterable[str]) -> bytes:
    """The contents of the file for these passwords."""
    return b"".join(sorted({_beginning(password) for password in passwords}))


def _beginning(password: str) -> bytes:
    return hashlib.sha256(unicodedata.normalize("NFKC", password).casefold().encode()).digest()[:_WIDTH]


def _entry(packed: bytes, number: int) -> bytes:
    return packed[number * _WIDTH : (number + 1) * _WIDTH]


@cache
def _packed() -> bytes:
    return PACKED.read_bytes()
