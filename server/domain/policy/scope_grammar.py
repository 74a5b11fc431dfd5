"""Scope grammar: what is a scope token, what is a pattern, and what does one cover? (RFC 6749 §3.3; docs/scopes.md)"""

from __future__ import annotations

from typing import Final

from server.config import SCOPE_TOKEN

#: One segment of any text; alone it is every scope.
ANY: Final = "*"
_SEPARATOR: Final = ":"


def is_scope_token(text: str) -> bool:
    """Whether `text` is one scope token: printable ASCII without space, quote and backslash."""
    return SCOPE_TOKEN.fullmatch(text) is not None


def is_pattern(scope: str) -> bool:
    """Whether one of its segments is `*`: a scope that may cover others than itself."""
    return ANY in scope and ANY in scope.split(_SEPARATOR)


def covers(granted: str, required: str) -> bool:
    """Whether everything that is meant by `required` is meant by `granted` too; a partial order."""
    if granted in (required, ANY):
        return True
    # Most scopes are names: nothing to take apart.
    if ANY not in granted:
        return False
    given, needed = granted.split(_SEPARATOR), required.split(_SEPARATOR)
    return len(given) == len(needed) and all(left in (ANY, right) for left, right in zip(given, needed, strict=True))


def meet(left: str, right: str) -> str | None:
    """The scope that means exactly what both mean, or None when they share nothing."""
    if covers(left, right):
        return right
    if covers(right, left):
        return left
    ours, theirs = left.split(_SEPARATOR), right.split(_SEPARATOR)
    if len(ours) != len(theirs):
        return None
    pairs = list(zip(ours, theirs, strict=True))
    if any(ANY not in pair and pair[0] != pair[1] for pair in pairs):
        return None
    return _SEPARATOR.join(other if one == ANY else one for one, other in pairs)
