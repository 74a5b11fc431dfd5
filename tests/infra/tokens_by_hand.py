"""Parts of tokens, written by hand so that any of them can be wrong."""

from __future__ import annotations

import base64


def b64(data: bytes | str) -> str:
    """Unpadded base64url, of a text's UTF-8."""
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()
