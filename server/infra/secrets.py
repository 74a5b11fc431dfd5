"""Random identifiers and secrets, their digests, and comparison in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TO_BASE62 = (_BASE62 * 5).encode()[:256].ljust(256)
_UNFAIR = bytes(range(248, 256))
#: Two digits at a time: each refresh derives two.
_PAIRS = [high + low for high in _BASE62 for low in _BASE62]


def _base62(number: int, width: int) -> str:
    pairs = []
    for _ in range(0, width, 2):
        number, remainder = divmod(number, 3844)
        pairs.append(_PAIRS[remainder])
    pairs.reverse()
    return "".join(pairs)[-width:]


def _random_text(length: int) -> str:
    """Each character is one of 62 with the same chance: of 256 bytes the last eight, which would favour some, go."""
    text = b""
    while len(text) < length:
        text += os.urandom(length + 8).translate(_TO_BASE62, _UNFAIR)
    return text[:length].decode()


def new_id() -> str:
    """A random identifier of 22 base62 characters, 131 bits: safe in URLs, shells and double clicks."""
    return _random_text(22)


def new_secret(prefix: str = "") -> str:
    """A random secret of 43 base62 characters, 256 bits, after `prefix`."""
    return prefix + _random_text(43)


def derived_id(key: bytes, message: str) -> str:
    """An identifier as `new_id` makes them, that only who has `key` can tell from `message`."""
    return _base62(int.from_bytes(hmac.digest(key, message.encode(), "sha256")[:16]), 22)


def derived_secret(key: bytes, message: str, prefix: str = "") -> str:
    """A secret as `new_secret` makes them, that only who has `key` can tell from `message`."""
    return prefix + _base62(int.from_bytes(hmac.digest(key, message.encode(), "sha256")), 43)


def digest(secret: str) -> str:
    """SHA-256 of `secret` in hex. Right for random secrets of 128 bits and more; never for a person's password."""
    return hashlib.sha256(secret.encode()).hexdigest()


def equal(left: str, right: str) -> bool:
    """Whether both are the same, in time that does not depend on where they differ."""
    return hmac.compare_digest(left.encode(), right.encode())


def keyed_digest(key: str, message: str) -> str:
    """HMAC-SHA-256 of `message` under `key`, in hex."""
    return hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()
