"""JSON Web Keys and signed tokens over joserfc: one algorithm per key, static errors (RFC 7515, 7517, 7519).

A private key is parsed once per process: parsing an RSA key costs as much as sixty signatures.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwk, jws, jwt
from joserfc.errors import JoseError, SecurityWarning

from server.infra import public_keys
from server.infra.compact import (
    FORBIDDEN_HEADERS,
    MAX_HEADER_CHARACTERS,
    InvalidToken,
    canonical,
    decode_header,
    decode_object,
    decode_parts,
    from_base64url,
    to_base64url,
)

__all__ = ["InvalidToken"]

#: joserfc warns that RFC 9864 renames EdDSA to Ed25519; OpenID clients know it as EdDSA only.
warnings.filterwarnings("ignore", message=r".*EdDSA.*", category=SecurityWarning)

SIGNING_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
RSA_BITS: Final = 2048
_MAX_TOKEN_CHARACTERS: Final = 16384
_SECRET_BYTES: Final = 32
_HALF_HASHES: Final = {
    "RS256": hashlib.sha256,
    "PS256": hashlib.sha256,
    "ES256": hashlib.sha256,
    "EdDSA": hashlib.sha512,
}
_SHA256: Final = SHA256()
_PKCS1: Final = PKCS1v15()
#: The salt is as long as the hash (RFC 7518 §3.5).
_PSS: Final = PSS(MGF1(_SHA256), 32)
_DETERMINISTIC_ECDSA: Final = ECDSA(_SHA256, deterministic_signing=True)
#: An encrypted token is no signed one (RFC 7516 §9).
_FORBIDDEN_HEADERS: Final = FORBIDDEN_HEADERS | {"enc"}

SigningKey = jwk.RSAKey | jwk.ECKey | jwk.OKPKey


class UnknownKey(InvalidToken):
    """No key of the JWKS fits the token; its owner may have published another meanwhile."""


@dataclass(frozen=True)
class DecodedToken:
    """A token whose signature held."""

    header: dict[str, Any]
    claims: dict[str, Any]


def generate_key(algorithm: str) -> SigningKey:
    """A new private key for `algorithm`, with its thumbprint (RFC 7638) as `kid`."""
    parameters: jwk.KeyParameters = {"alg": algorithm, "use": "sig"}
    key: SigningKey
    if algorithm in {"RS256", "PS256"}:
        key = jwk.RSAKey.generate_key(RSA_BITS, parameters)
    elif algorithm == "ES256":
        key = jwk.ECKey.generate_key("P-256", parameters)
    elif algorithm == "EdDSA":
        key = jwk.OKPKey.generate_key("Ed25519", parameters)
    else:
        raise ValueError(f"{algorithm} is not one of {', '.join(SIGNING_ALGORITHMS)}")
    return with_kid(key)


def import_pem(pem: bytes, algorithm: str) -> SigningKey:
    """Parses a PEM private key made elsewhere.

    Raises:
        ValueError: when it is no private key, does not fit `algorithm`, or is an RSA key under 2048 bits.
    """
    kinds: dict[str, type[SigningKey]] = {
        "RS256": jwk.RSAKey,
        "PS256": jwk.RSAKey,
        "ES256": jwk.ECKey,
        "EdDSA": jwk.OKPKey,
    }
    try:
        with warnings.catch_warnings():
            # What joserfc warns of, a short key, is refused below.
            warnings.simplefilter("ignore", SecurityWarning)
            key = kinds[algorithm].import_key(pem, {"alg": algorithm, "use": "sig"})
    except (ValueError, JoseError, TypeError) as error:
        raise ValueError(f"this is not a PEM private key that can sign {algorithm}") from error
    if not key.is_private:
        raise ValueError("this is a public key; a private one is needed")
    if isinstance(key, jwk.RSAKey) and key.raw_value.key_size < RSA_BITS:
        raise ValueError(f"RSA keys need at least {RSA_BITS} bits")
    if isinstance(key, jwk.ECKey) and key.curve_name != "P-256":
        raise ValueError("ES256 needs a key on the curve P-256")
    if isinstance(key, jwk.OKPKey) and key.as_dict(private=False)["crv"] != "Ed25519":
        raise ValueError("EdDSA needs an Ed25519 key")
    return with_kid(key)


def with_kid(key: SigningKey) -> SigningKey:
    """The private key with its thumbprint (RFC 7638) as `kid`."""
    document = key.as_dict(private=True)
    thumbprint = key.thumbprint()
    # One in 64 begins with a dash, which a command line takes for an option.
    document["kid"] = f"k{thumbprint}" if thumbprint.startswith("-") else thumbprint
    return parse_private_key(json.dumps(document).encode())


def serialize_private_key(key: SigningKey) -> bytes:
    """The private JWK, to be encrypted before it is stored."""
    return json.dumps(key.as_dict(private=True)).encode()


def parse_private_key(document: bytes) -> SigningKey:
    """The key of a private JWK made by `serialize_private_key`."""
    key = jwk.import_key(json.loads(document))
    assert isinstance(key, jwk.RSAKey | jwk.ECKey | jwk.OKPKey)
    return key


def public_jwk(key: SigningKey) -> dict[str, Any]:
    """The public half, as the JWKS shows it."""
    return {name: value for name, value in key.as_dict(private=False).items() if name != "key_ops"}


def sign(claims: Mapping[str, Any], key: SigningKey, algorithm: str, typ: str) -> str:
    """A compact JWS over `claims`, with `alg`, `kid` and `typ` in its header (RFC 7515 §3.1).

    The same claims under the same key are the same token, with ES256 too (RFC 6979); PS256 alone is salted.
    """
    payload = to_base64url(json.dumps(claims, separators=(",", ":")).encode())
    signed = f"{_encoded_header(algorithm, str(key.kid), typ)}.{payload}"
    return f"{signed}.{to_base64url(signature(key, algorithm, signed.encode()))}"


@lru_cache(maxsize=64)
def _encoded_header(algorithm: str, kid: str, typ: str) -> str:
    return to_base64url(json.dumps({"alg": algorithm, "kid": kid, "typ": typ}, separators=(",", ":")).encode())


def signature(key: SigningKey, algorithm: str, data: bytes) -> bytes:
    """The signature over `data` (RFC 7518 §3.3 to §3.5; RFC 8037 §3.1)."""
    private: Any = key.private_key
    if algorithm == "RS256":
        return bytes(private.sign(data, _PKCS1, _SHA256))
    if algorithm == "ES256":
        r, s = decode_dss_signature(private.sign(data, _DETERMINISTIC_ECDSA))
        return r.to_bytes(32) + s.to_bytes(32)
    if algorithm == "PS256":
        return bytes(private.sign(data, _PSS, _SHA256))
    return bytes(private.sign(data))


def verify(token: str, public_keys: Sequence[Mapping[str, Any]]) -> DecodedToken:
    """Verifies a compact JWS against published keys: `kid` picks the key and the key dictates the algorithm.

    Raises:
        InvalidToken: for anything that is not a token signed by one of these keys.
    """
    header = peek_header(token)
    if not _FORBIDDEN_HEADERS.isdisjoint(header):
        raise InvalidToken("The token's header has a member that is not accepted.")
    if token != canonical(token):
        raise InvalidToken("The token is not canonically encoded.")
    key = next((candidate for candidate in public_keys if candidate["kid"] == header.get("kid")), None)
    if key is None or key.get("use") == "enc" or header.get("alg") != key["alg"]:
        raise InvalidToken("The token is not signed by a key of this issuer.")
    algorithm = str(key["alg"])
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    try:
        decoded = jwt.decode(token, _public_key(json.dumps(key)), registry=registry)
    except (JoseError, ValueError, TypeError) as error:
        raise InvalidToken("The token's signature does not verify.") from error
    return DecodedToken(decoded.header, decoded.claims)


@lru_cache(maxsize=64)
def _public_key(document: str) -> SigningKey:
    """The parsed public key of a JWK; parsing it costs as much as two verifications."""
    key = jwk.import_key(json.loads(document))
    assert isinstance(key, jwk.RSAKey | jwk.ECKey | jwk.OKPKey)  # narrows the type; we published the document
    return key


def verify_foreign(token: str, keys: Sequence[Mapping[str, Any]], algorithms: Collection[str]) -> DecodedToken:
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
    parts = decode_parts(token, 3, _MAX_TOKEN_CHARACTERS)
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


def peek_header(token: str) -> dict[str, Any]:
    """The unverified header.

    Raises:
        InvalidToken: when there is none.
    """
    return _decode_part(token, 0)


def peek_claims(token: str) -> dict[str, Any]:
    """The unverified claims, for showing and for logging only.

    Raises:
        InvalidToken: when there are none.
    """
    return _decode_part(token, 1)


def _decode_part(token: str, index: int) -> dict[str, Any]:
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _MAX_TOKEN_CHARACTERS:
        raise InvalidToken("This is not a signed token.")
    try:
        document = json.loads(from_base64url(parts[index]))
    except (ValueError, RecursionError) as error:
        raise InvalidToken("This is not a signed token.") from error
    if not isinstance(document, dict):
        raise InvalidToken("This is not a signed token.")
    return document


def half_hash(value: str, algorithm: str) -> str:
    """The `at_hash` of `value`: the left half of the algorithm's hash (OpenID Connect Core §3.1.3.6)."""
    full = _HALF_HASHES[algorithm](value.encode("ascii")).digest()
    return to_base64url(full[: len(full) // 2])
