"""The public keys of others: which key of a JWKS an algorithm means, and that key alone (RFC 7517, RFC 7518 §6).

Of a document that somebody else wrote, only the members that make the public key are read; a private key that
stands there by mistake is not even parsed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from joserfc import jwk
from joserfc.errors import JoseError

from server.infra.compact import from_base64url

PublicKey = jwk.RSAKey | jwk.ECKey | jwk.OKPKey

#: Smaller moduli are broken, larger ones cost us whole milliseconds a signature.
RSA_BITS: Final = range(2048, 8192 + 1)
#: The longest public exponent, in characters of base64url: that of a 64-bit number.
_EXPONENT_CHARACTERS: Final = 11
_MEMBERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_AGREEMENT: Final[Sequence[list[str | None]]] = (["EC", "P-256"], ["EC", "P-384"], ["EC", "P-521"], ["OKP", "X25519"])
#: The kinds of key, by type and curve, that an algorithm works with (RFC 7518 §3.1, §4.1; RFC 8037 §3).
_KINDS: Final[Mapping[str, Sequence[list[str | None]]]] = {
    "RS256": (["RSA", None],),
    "PS256": (["RSA", None],),
    "ES256": (["EC", "P-256"],),
    "EdDSA": (["OKP", "Ed25519"],),
    "RSA-OAEP": (["RSA", None],),
    "RSA-OAEP-256": (["RSA", None],),
    "ECDH-ES": _AGREEMENT,
    "ECDH-ES+A128KW": _AGREEMENT,
    "ECDH-ES+A256KW": _AGREEMENT,
}
#: What `key_ops` names, beside `use` (RFC 7517 §4.3).
_OPERATIONS: Final = {"sig": ("verify",), "enc": ("encrypt", "wrapKey", "deriveKey", "deriveBits")}


def fitting(keys: Sequence[Mapping[str, Any]], algorithm: str, use: str) -> list[Mapping[str, Any]]:
    """The keys that are of the algorithm's kind and meant for this use: `sig` or `enc`."""
    return [key for key in keys if _fits(key, algorithm, use)]


def _fits(key: Mapping[str, Any], algorithm: str, use: str) -> bool:
    # A list and not a set: what stands in the document may be anything, hashable or not.
    if [key.get("kty"), None if key.get("kty") == "RSA" else key.get("crv")] not in _KINDS[algorithm]:
        return False
    if key.get("use", use) != use or key.get("alg", algorithm) != algorithm:
        return False
    operations = key.get("key_ops")
    if operations is None:
        return True
    return isinstance(operations, list) and any(operation in _OPERATIONS[use] for operation in operations)


def parse(key: Mapping[str, Any]) -> PublicKey:
    """The public key of a JWK.

    Raises:
        ValueError: when it is none, or is an RSA key of fewer than 2048 or more than 8192 bits.
    """
    kind = key.get("kty")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        raise ValueError("the key is of no type we know")
    members = {name: key.get(name) for name in _MEMBERS[kind]}
    if not all(isinstance(value, str) for value in members.values()):
        raise ValueError("the key lacks a member")
    return _parsed(json.dumps({"kty": kind, **members}))


@lru_cache(maxsize=256)
def _parsed(document: str) -> PublicKey:
    """Parsed once: it costs as much as two verifications."""
    members = json.loads(document)
    if members["kty"] == "RSA":
        _check_rsa(members["n"], members["e"])
    try:
        key = jwk.import_key(members)
    except (JoseError, TypeError, KeyError) as error:
        raise ValueError("the key cannot be read") from error
    assert isinstance(key, jwk.RSAKey | jwk.ECKey | jwk.OKPKey)  # narrows the type; no other has these members
    return key


def _check_rsa(modulus: str, exponent: str) -> None:
    """Measures the key before it is parsed, which is what large ones make expensive."""
    bits = int.from_bytes(from_base64url(modulus)).bit_length() if len(modulus) < RSA_BITS.stop else RSA_BITS.stop
    if bits not in RSA_BITS or len(exponent) > _EXPONENT_CHARACTERS:
        raise ValueError("the RSA key is too small or too large")
