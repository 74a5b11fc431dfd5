"""Does a token that a client signed hold now? `exp`, `nbf` and `iat`, whoever wrote them (RFC 7519 §4.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

#: How far the client's clock and ours may be apart (FAPI 2.0 §5.3.2.1: 10 seconds at least, 60 are too many).
LEEWAY_SECONDS: Final = 30


def why_untimely(claims: Mapping[str, Any], now: float) -> str | None:
    """What is wrong with the token's times, in fixed words, or None. A time that is not there is not asked for."""
    for name in ("exp", "nbf", "iat"):
        if name in claims and not _is_moment(claims[name]):
            return f"{name} is not a moment"
    if "exp" in claims and now >= claims["exp"] + LEEWAY_SECONDS:
        return "expired"
    if "nbf" in claims and claims["nbf"] > now + LEEWAY_SECONDS:
        return "not valid yet"
    if "iat" in claims and claims["iat"] > now + LEEWAY_SECONDS:
        return "issued in the future"
    return None


def _is_moment(value: object) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )
