"""What is a scope token? (RFC 6749 §3.3)"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")


def is_scope_token(text: str) -> bool:
    """Whether `text` is one scope token: printable ASCII without space, quote and backslash."""
    return _TOKEN.fullmatch(text) is not None
