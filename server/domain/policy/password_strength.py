"""Is this password acceptable? (NIST SP 800-63B-4 §3.1.1.2: length, a list of known ones, no composition rules)"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import Final, Protocol

MAXIMUM_BYTES: Final = 1024
#: As a power of ten. An attacker who stole the database pays a slow hash for each guess.
MINIMUM_GUESSES_LOG10: Final = 8.0
#: A password built from names must have so many characters beside them.
_BESIDE_NAMES: Final = 8
#: Shorter parts of names are parts of other words, too.
_SHORTEST_NAME: Final = 3
#: Control characters and halves of characters.
_UNTYPABLE: Final = frozenset({"Cc", "Cs"})
_PRODUCT: Final = "gatepost"


class Knowledge(Protocol):
    """What attackers know about passwords."""

    def is_common(self, password: str) -> bool:
        """Whether it is on the lists that are tried first."""

    def guesses_log10(self, password: str, words: Iterable[str]) -> float:
        """How many guesses it takes, as a power of ten, of somebody who tries `words` first."""


def why_unacceptable(password: str, minimum: int, names: Collection[str], knowledge: Knowledge) -> str | None:
    """A sentence for the person choosing it, or None when it is fine.

    Args:
        password: as it was typed.
        minimum: characters it has at least.
        names: of the person and the deployment, from `names_of`.
        knowledge: asked last, and only about passwords that are fine otherwise.
    """
    if any(unicodedata.category(character) in _UNTYPABLE for character in password):
        return "Use letters, digits, signs and spaces; this has a character that cannot be typed."
    if len(password) < minimum:
        return f"Use {minimum} characters or more. A few words work well."
    if len(password.encode()) > MAXIMUM_BYTES:
        return f"Use at most {MAXIMUM_BYTES} bytes."
    if _is_built_from(names, password):
        return "Don't build it from your name, your address or the name of this site."
    if knowledge.is_common(password):
        return "Many people have used this one, so it is tried first. Choose another."
    if knowledge.guesses_log10(password, names) < MINIMUM_GUESSES_LOG10:
        return "This is easy to guess. Use a few words that don't belong together."
    return None


def names_of(email: str, name: str | None, issuer_name: str) -> frozenset[str]:
    """The words that a person's password is not built from: whole names, and their parts."""
    local_part = email.rpartition("@")[0]
    whole = {_plain(text) for text in (email, local_part, name or "", issuer_name, _PRODUCT)}
    return frozenset(each for text in whole for each in _with_parts(text) if len(each) >= _SHORTEST_NAME)


def _with_parts(text: str) -> Iterator[str]:
    yield text
    yield from re.split(r"[\W_]+", text)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _is_built_from(names: Collection[str], password: str) -> bool:
    """Whether little is left without the names: the longest go first, so that no part hides a whole one."""
    rest = plain = _plain(password)
    for name in sorted(names, key=len, reverse=True):
        rest = rest.replace(name, "")
    return rest != plain and len(re.sub(r"[\W_]+", "", rest)) < _BESIDE_NAMES
