"""What is a scope token? (RFC 6749 §3.3)"""

from __future__ import annotations

from server.config import SCOPE_TOKEN


def is_scope_token(text: str) -> bool:
    """Whether `text` is one scope token: printable ASCII without space, quote and backslash."""
    return SCOPE_TOKEN.fullmatch(text) is not None
