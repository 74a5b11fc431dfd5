"""Random identifiers and secrets, their digests, and comparison in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: Two digits at a time: each request needs several identifiers.
_PAIRS = [high + low for high in _BASE62 for low in _BASE62]


def _base62(number: int, width: int) -> str:
    pairs = []
    for _ in range(0, width, 2):
        number, remainder = divmod(number, 3844)
        pairs.append(_PAIRS[remainder])
    pairs.reverse()
    return "".join(pairs)[-width:]


def new_id() -> str:
    """A 128-bit random identifier of 22 base62 characters: safe in URLs, shells and double clicks."""
    return _base62(secrets.randbits(128), 22)


def new_secret(prefix: str = "") -> str:
    """A 256-bit random secret of 43 base62 characters after `prefix`."""
    return prefix + _base62(secrets.randbits(256), 43)


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
