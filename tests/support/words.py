"""Looking for a short word in a page that also shows random ids, each of which has any three letters now and then."""

from __future__ import annotations

import re


def words_of(text: str) -> set[str]:
    """The runs of letters and digits of a text, markup included: an id is one of them, and none is within an id."""
    return set(re.findall(r"[^\W_]+", text))
