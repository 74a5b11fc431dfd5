"""Encrypted tokens over joserfc: to a client's key, and from a client to ours (RFC 7516, RFC 7518 §4, §5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from joserfc import jwe, jwk
from joserfc.errors import JoseError

from server.infra import jose, public_keys
from server.infra.compact import MAX_HEADER_CHARACTERS, InvalidToken, decode_header, decode_parts

#: How a client may have its tokens encrypted. RSA-OAEP, over SHA-1, is no weaker for it and is what many clients know.
ENCRYPTION_ALGORITHMS: Final = ("RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW")
#: How a client may encrypt to us.
DECRYPTION_ALGORITHMS: Final = ("RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW")
CONTENT_ENCRYPTIONS: Final = ("A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A256GCM")
#: The algorithms that an encryption key of ours is made for; the ECDH-ES one serves its key-wrapping forms too.
KEY_ALGORITHMS: Final = ("RSA-OAEP-256", "ECDH-ES")
_MAX_TOKEN_CHARACTERS: Final = 32768
_MAX_PARTY_CHARACTERS: Final = 512


class NoEncryptionKey(Exception):
    """The client's JWKS has no key that this algorithm encrypts to; the message is fixed text."""


def generate_encryption_key(algorithm: str) -> jose.SigningKey:
    """A new private key that clients encrypt to, with its thumbprint (RFC 7638) as `kid`.

    The one for ECDH-ES says no `alg`, since it serves the forms with key wrapping as well.
    """
    if algorithm == "RSA-OAEP-256":
        return jose.with_kid(jwk.RSAKey.generate_key(jose.RSA_BITS, {"alg": algorithm, "use": "enc"}))
    if algorithm == "ECDH-ES":
        return jose.with_kid(jwk.ECKey.generate_key("P-256", {"use": "enc"}))
    raise ValueError(f"{algorithm} is not one of {', '.join(KEY_ALGORITHMS)}")


def encrypt(payload: str, keys: Sequence[Mapping[str, Any]], alg: str, enc: str, *, cty: str | None = "JWT") -> str:
    """A compact JWE of `payload` to the key of the JWKS that fits `alg` best (RFC 7516 §5.1).

    Raises:
        NoEncryptionKey: when none of the keys can be used.
    """
    if alg not in ENCRYPTION_ALGORITHMS or enc not in CONTENT_ENCRYPTIONS:
        raise NoEncryptionKey("The client's tokens are to be encrypted with an algorithm that is not offered.")
    document, key = recipient(keys, alg)
    header: dict[str, Any] = {"alg": alg, "enc": enc}
    if isinstance(document.get("kid"), str):
        header["kid"] = document["kid"]
    if cty is not None:
        header["cty"] = cty
    try:
        return jwe.encrypt_compact(header, payload, key, registry=_registry(alg, enc))
    except (JoseError, ValueError) as error:
        raise NoEncryptionKey("The client's encryption key cannot be used.") from error


def recipient(keys: Sequence[Mapping[str, Any]], alg: str) -> tuple[Mapping[str, Any], public_keys.PublicKey]:
    """The key that says of itself most clearly that it is the one, the first of equals; as a document, and parsed.

    Raises:
        NoEncryptionKey: when there is none, or it cannot be used.
    """
    fitting = public_keys.fitting(keys, alg, "enc")
    if not fitting:
        raise NoEncryptionKey("The client publishes no key that its tokens could be encrypted to.")
    document = max(fitting, key=lambda key: ("alg" in key, "use" in key))
    try:
        return document, public_keys.parse(document)
    except ValueError as error:
        raise NoEncryptionKey("The client's encryption key cannot be used.") from error


def decrypt(token: str, private_keys: Sequence[jose.SigningKey]) -> str:
    """The text inside a compact JWE that a client encrypted to one of our keys (RFC 7516 §5.2).

    All that goes wrong with the key or the content is refused in the same words (RFC 7516 §11.5).

    Raises:
        InvalidToken: when it is none.
    """
    parts = decode_parts(token, 5, _MAX_TOKEN_CHARACTERS)
    header = decode_header(parts[0])
    alg, enc = header["alg"], header.get("enc")
    if alg not in DECRYPTION_ALGORITHMS or enc not in CONTENT_ENCRYPTIONS:
        raise InvalidToken("The token is encrypted with an algorithm that is not accepted.")
    _check_agreement(header)
    for key in _candidates(private_keys, alg, header.get("kid")):
        text = _decrypted(token, key, alg, enc)
        if text is not None:
            return text
    raise InvalidToken("The token cannot be decrypted.")


def _check_agreement(header: Mapping[str, Any]) -> None:
    """Checks the members that belong to ECDH-ES (RFC 7518 §4.6.1)."""
    for name in ("apu", "apv"):
        party = header.get(name, "")
        if not isinstance(party, str) or len(party) > _MAX_PARTY_CHARACTERS:
            raise InvalidToken("The token's header has a member that is not accepted.")
    if not header["alg"].startswith("ECDH-ES"):
        return
    ephemeral = header.get("epk")
    if not isinstance(ephemeral, dict) or ephemeral.get("crv") != "P-256" or "d" in ephemeral:
        raise InvalidToken("The token's ephemeral key is not one on the curve P-256.")
    try:
        public_keys.parse(ephemeral)
    except ValueError as error:
        raise InvalidToken("The token's ephemeral key cannot be read.") from error


def _candidates(keys: Sequence[jose.SigningKey], alg: str, kid: str | None) -> list[jose.SigningKey]:
    kind = jwk.RSAKey if alg.startswith("RSA") else jwk.ECKey
    return [key for key in keys if isinstance(key, kind) and key.get("use") == "enc" and kid in (None, key.kid)]


def _decrypted(token: str, key: jose.SigningKey, alg: str, enc: str) -> str | None:
    try:
        found = jwe.decrypt_compact(token, key, registry=_registry(alg, enc))
        return (found.plaintext or b"").decode("utf-8")
    except (JoseError, InvalidTag, ValueError, TypeError, KeyError, AssertionError):
        return None


def _registry(alg: str, enc: str) -> jwe.JWERegistry:
    registry = jwe.JWERegistry(algorithms=[alg, enc], strict_check_header=False)
    registry.max_protected_header_length = MAX_HEADER_CHARACTERS
    return registry
