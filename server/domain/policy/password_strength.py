"""Is this password acceptable? (NIST SP 800-63B-4 §3.1.1.2: length, no composition rules)"""

from __future__ import annotations

import unicodedata
from typing import Final

MINIMUM_CHARACTERS: Final = 8
MAXIMUM_BYTES: Final = 1024
#: Control characters and halves of characters.
_UNTYPABLE: Final = frozenset({"Cc", "Cs"})


def why_unacceptable(password: str) -> str | None:
    """A sentence for the person choosing it, or None when it is fine."""
    if any(unicodedata.category(character) in _UNTYPABLE for character in password):
        return "Use letters, digits, signs and spaces; this has a character that cannot be typed."
    if len(password) < MINIMUM_CHARACTERS:
        return f"Use {MINIMUM_CHARACTERS} characters or more. A few words work well."
    if len(password.encode()) > MAXIMUM_BYTES:
        return f"Use at most {MAXIMUM_BYTES} bytes."
    return None
