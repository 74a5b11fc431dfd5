"""The compact serialization of signed and encrypted tokens, read strictly (RFC 7515 §7.1, RFC 7516 §7.1).

One token has one spelling, and one JSON object has one meaning: what two parsers could read in two ways is refused.
"""

from __future__ import annotations

import binascii
import json
import math
from typing import Any, Final

#: A header holds names and a key id; the widest we accept, an ephemeral key on P-521, needs a quarter of this.
MAX_HEADER_CHARACTERS: Final = 2048
#: How many objects and arrays may stand in one another. The parser takes more than some that write it again later can.
MAX_LEVELS: Final = 32
#: Header members that would let a token choose its own key, or that change what the rest means (RFC 7515 §4.1,
#: §4.1.11; RFC 7516 §4.1.3; RFC 7797 §3).
FORBIDDEN_HEADERS: Final = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"})
#: By how many characters stand after the last whole group of four; no encoding leaves one.
_PADDING: Final = ("", "===", "==", "=")


class InvalidToken(Exception):
    """A token that does not hold; the message is fixed text and never holds input."""


def decode_parts(token: str, count: int, maximum: int) -> list[bytes]:
    """The `count` parts of a token of at most `maximum` characters, each in its one spelling (RFC 4648 §3.5).

    Raises:
        InvalidToken: when it has another number of parts, is longer, or is not canonically encoded.
    """
    if len(token) > maximum or token.count(".") != count - 1:
        raise InvalidToken("The token has not the parts it should have, or is too long.")
    if token.index(".") > MAX_HEADER_CHARACTERS:
        raise InvalidToken("The token's header is too long.")
    if token != canonical(token):
        raise InvalidToken("The token is not canonically encoded.")
    return [from_base64url(part) for part in token.split(".")]


def decode_header(document: bytes) -> dict[str, Any]:
    """A header that leaves the choice of the key to us.

    Raises:
        InvalidToken: when it is no JSON object, or has a member that we do not accept.
    """
    header = decode_object(document)
    if not FORBIDDEN_HEADERS.isdisjoint(header):
        raise InvalidToken("The token's header has a member that is not accepted.")
    if not isinstance(header.get("alg"), str) or not isinstance(header.get("kid", ""), str):
        raise InvalidToken("The token's header names no algorithm, or no key, as text.")
    return header


def decode_object(document: bytes) -> dict[str, Any]:
    """The JSON object that these bytes are in UTF-8.

    It has no member twice, only finite numbers, only whole characters, and is not nested without bound.

    Raises:
        InvalidToken: when they are none.
    """
    try:
        found = json.loads(
            document.decode("utf-8"),
            object_pairs_hook=_once_each,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        if b"\\u" in document:
            # Half of a surrogate pair can be escaped in JSON, but not be written anywhere.
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise InvalidToken("The token holds no well-formed JSON.") from error
    if not isinstance(found, dict):
        raise InvalidToken("The token holds no JSON object.")
    if _is_too_deep(found):
        raise InvalidToken("The token's JSON is nested too deeply.")
    return found


def _is_too_deep(found: dict[str, Any]) -> bool:
    level: list[Any] = [found]
    for _ in range(MAX_LEVELS):
        inside = (each.values() if isinstance(each, dict) else each for each in level)
        level = [value for values in inside for value in values if isinstance(value, (dict, list))]
    return bool(level)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError("not a number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def from_base64url(text: str) -> bytes:
    """The bytes of unpadded base64url (RFC 7515 §2).

    Raises:
        ValueError: when it is none.
    """
    standard = text.replace("-", "+").replace("_", "/")
    return binascii.a2b_base64(standard + _PADDING[len(text) % 4], strict_mode=True)


def to_base64url(data: bytes) -> str:
    """Unpadded base64url (RFC 7515 §2)."""
    standard = binascii.b2a_base64(data, newline=False).decode()
    return standard.rstrip("=").replace("+", "-").replace("/", "_")


def canonical(token: str) -> str:
    """The token re-encoded: the same text unless unused bits were set at a segment's end (RFC 4648 §3.5)."""
    try:
        parts = [from_base64url(part) for part in token.split(".")]
    except ValueError:
        return ""
    return ".".join(to_base64url(part) for part in parts)
