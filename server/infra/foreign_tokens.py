"""Tokens that clients have signed, with keys of their own or with their secret (RFC 7515, RFC 7518)."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError

from server.infra import public_keys
from server.infra.compact import (
    MAX_HEADER_CHARACTERS,
    InvalidToken,
    decode_header,
    decode_object,
    decode_parts,
    to_base64url,
)
from server.infra.jose import MAX_TOKEN_CHARACTERS, SIGNING_ALGORITHMS, DecodedToken, SigningKey

_SECRET_BYTES: Final = 32


class UnknownKey(InvalidToken):
    """No key of the JWKS fits the token; its owner may have published another meanwhile."""


def verify_signed(token: str, keys: Sequence[Mapping[str, Any]], algorithms: Collection[str]) -> DecodedToken:
    """Verifies a compact JWS that a client signed, against its JWKS: `kid` picks the key, or the one key that fits.

    Raises:
        UnknownKey: when none of the keys fits; the client may have published another meanwhile.
        InvalidToken: for anything else that is not a token signed by one of these keys with one of these algorithms.
    """
    header, claims = _decode(token)
    algorithm = header["alg"]
    if algorithm not in SIGNING_ALGORITHMS or algorithm not in algorithms:
        raise InvalidToken("The token is signed with an algorithm that is not accepted.")
    key = _foreign_key(keys, algorithm, header.get("kid"))
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = MAX_HEADER_CHARACTERS
    try:
        jws.deserialize_compact(token, key, registry=registry)
    except (JoseError, ValueError, TypeError) as error:
        raise InvalidToken("The token's signature does not verify.") from error
    return DecodedToken(header, claims)


def _decode(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of somebody else's token, before its signature is looked at."""
    parts = decode_parts(token, 3, MAX_TOKEN_CHARACTERS)
    header = decode_header(parts[0])
    if "enc" in header:
        raise InvalidToken("The token is encrypted, not signed.")
    return header, decode_object(parts[1])


def _foreign_key(keys: Sequence[Mapping[str, Any]], algorithm: str, kid: str | None) -> SigningKey:
    fitting = public_keys.fitting(keys, algorithm, "sig")
    named = fitting if kid is None else [key for key in fitting if key.get("kid") == kid]
    if not named:
        raise UnknownKey("The token is signed by a key that is not in the JWKS.")
    if len(named) > 1:
        # OpenID Connect Core §10.1: a JWKS with several keys calls for a `kid` in the header.
        raise InvalidToken("Several keys of the JWKS fit the token.")
    try:
        return public_keys.parse(named[0])
    except ValueError as error:
        raise InvalidToken("The key that the token names cannot be used.") from error


def verify_hmac(token: str, secret: str) -> DecodedToken:
    """Verifies a compact JWS that a client signed with its secret, HS256 (RFC 7518 §3.2).

    Raises:
        InvalidToken: for anything else, and when the secret is shorter than the hash (RFC 7518 §3.2).
    """
    header, claims = _decode(token)
    if header["alg"] != "HS256" or len(secret.encode()) < _SECRET_BYTES:
        raise InvalidToken("The token is not signed with HS256 and a secret of its length.")
    signed, _, signature = token.rpartition(".")
    expected = to_base64url(hmac.digest(secret.encode(), signed.encode("ascii"), "sha256"))
    if not hmac.compare_digest(expected, signature):
        raise InvalidToken("The token's signature does not verify.")
    return DecodedToken(header, claims)
