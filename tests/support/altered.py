"""Texts that differ from another in one character, whatever that character happens to be."""

from __future__ import annotations


def altered(text: str, position: int = -1) -> str:
    """The text with another letter at `position`.

    A random text ends in any given letter now and then, so that putting one there does not always change it.
    """
    where = position % len(text)
    return f"{text[:where]}{'a' if text[where] != 'a' else 'b'}{text[where + 1 :]}"
