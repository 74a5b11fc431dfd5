"""JSON Web Keys and signed tokens over joserfc: one algorithm per key, static errors (RFC 7515, 7517, 7519).

A private key is parsed once per process: parsing an RSA key costs as much as sixty signatures.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwk
from joserfc.errors import JoseError, SecurityWarning

from server.infra.compact import (
    FORBIDDEN_HEADERS,
    InvalidToken,
    from_base64url,
    to_base64url,
)

__all__ = ["InvalidToken"]

#: joserfc warns that RFC 9864 renames EdDSA to Ed25519; OpenID clients know it as EdDSA only.
warnings.filterwarnings("ignore", message=r".*EdDSA.*", category=SecurityWarning)

SIGNING_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
RSA_BITS: Final = 2048
MAX_TOKEN_CHARACTERS: Final = 16384
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
_P256_BYTES: Final = 32
_ECDSA: Final = ECDSA(_SHA256)
_DETERMINISTIC_ECDSA: Final = ECDSA(_SHA256, deterministic_signing=True)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
#: An encrypted token is no signed one (RFC 7516 §9).
_FORBIDDEN_HEADERS: Final = FORBIDDEN_HEADERS | {"enc"}

SigningKey = jwk.RSAKey | jwk.ECKey | jwk.OKPKey


class DecodedToken(NamedTuple):
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
    payload = to_base64url(_ENCODER.encode(claims).encode())
    signed = f"{_encoded_header(algorithm, str(key.kid), typ)}.{payload}"
    return f"{signed}.{to_base64url(signature(key, algorithm, signed.encode()))}"


@lru_cache(maxsize=64)
def _encoded_header(algorithm: str, kid: str, typ: str) -> str:
    return to_base64url(_ENCODER.encode({"alg": algorithm, "kid": kid, "typ": typ}).encode())


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
    header_part, payload, signature_part = _decoded_parts(token)
    header = _json_object(header_part)
    if not _FORBIDDEN_HEADERS.isdisjoint(header):
        raise InvalidToken("The token's header has a member that is not accepted.")
    key = next((candidate for candidate in public_keys if candidate["kid"] == header.get("kid")), None)
    if key is None or key.get("use") == "enc" or header.get("alg") != key["alg"]:
        raise InvalidToken("The token is not signed by a key of this issuer.")
    signed = token.rpartition(".")[0].encode("ascii")
    try:
        _check_signature(_public_key(key), str(key["alg"]), signed, signature_part)
    except (InvalidSignature, ValueError) as error:
        raise InvalidToken("The token's signature does not verify.") from error
    return DecodedToken(header, _json_object(payload))


def _check_signature(key: SigningKey, algorithm: str, data: bytes, presented: bytes) -> None:
    """The counterpart of `signature`.

    Raises:
        InvalidSignature: when it does not hold.
    """
    public: Any = key.public_key
    if algorithm == "RS256":
        public.verify(presented, data, _PKCS1, _SHA256)
    elif algorithm == "ES256":
        if len(presented) != 2 * _P256_BYTES:
            raise InvalidSignature
        r, s = int.from_bytes(presented[:_P256_BYTES]), int.from_bytes(presented[_P256_BYTES:])
        public.verify(encode_dss_signature(r, s), data, _ECDSA)
    elif algorithm == "PS256":
        public.verify(presented, data, _PSS, _SHA256)
    else:
        public.verify(presented, data)


def _public_key(document: Mapping[str, Any]) -> SigningKey:
    """The parsed public key of a JWK of ours; parsing it costs as much as two verifications."""
    # The kid is made from the key, but a name alone shall not decide what a signature is checked against.
    name = (document["kid"], document.get("n") or document["x"])
    key = _public_keys.get(name)
    if key is None:
        if len(_public_keys) >= _KEPT_PUBLIC_KEYS:
            _public_keys.clear()
        parsed = jwk.import_key(dict(document))
        assert isinstance(parsed, jwk.RSAKey | jwk.ECKey | jwk.OKPKey)  # narrows the type; we published the document
        key = _public_keys[name] = parsed
    return key


_KEPT_PUBLIC_KEYS: Final = 64
_public_keys: Final[dict[tuple[str, str], SigningKey]] = {}


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
    if len(parts) != 3 or len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken("This is not a signed token.")
    try:
        return _json_object(from_base64url(parts[index]))
    except ValueError as error:
        raise InvalidToken("This is not a signed token.") from error


def _decoded_parts(token: str) -> list[bytes]:
    """Header, payload and signature, each in its one spelling (RFC 4648 §3.5)."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken("This is not a signed token.")
    try:
        decoded = [from_base64url(part) for part in parts]
    except ValueError as error:
        raise InvalidToken("This is not a signed token.") from error
    if [to_base64url(part) for part in decoded] != parts:
        raise InvalidToken("The token is not canonically encoded.")
    return decoded


def _json_object(document: bytes) -> dict[str, Any]:
    try:
        found = json.loads(document.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidToken("This is not a signed token.") from error
    if not isinstance(found, dict):
        raise InvalidToken("This is not a signed token.")
    return found


def half_hash(value: str, algorithm: str) -> str:
    """The `at_hash` of `value`: the left half of the algorithm's hash (OpenID Connect Core §3.1.3.6)."""
    full = _HALF_HASHES[algorithm](value.encode("ascii")).digest()
    return to_base64url(full[: len(full) // 2])
