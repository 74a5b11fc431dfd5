"""What is refused of the keys that a client registers, and why (RFC 7591 §2, RFC 7517 §5 and §9.2)."""

from __future__ import annotations

from typing import Any, Final

from server.domain.clients import Client
from server.domain.errors import Invalid
from server.infra import public_keys

_MAXIMUM_KEYS: Final = 20
#: Members of a JWK that only its owner may know (RFC 7518 §6).
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def check_keys(client: Client) -> None:
    """The client's keys by value or by reference, public ones only.

    Raises:
        Invalid: naming the member at fault.
    """
    if client.jwks is not None and client.jwks_uri is not None:
        raise Invalid("jwks", "A client has jwks or jwks_uri, not both.")
    if client.jwks is None:
        return
    keys = client.jwks.get("keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= _MAXIMUM_KEYS:
        raise Invalid("jwks", f"This is an object whose member keys is an array of 1 to {_MAXIMUM_KEYS} keys.")
    for key in keys:
        _check_key(key)
    names = [key["kid"] for key in keys if "kid" in key]
    if len(set(names)) != len(names):
        raise Invalid("jwks", "Two of the keys have the same kid.")


def _check_key(key: Any) -> None:
    if not isinstance(key, dict) or not isinstance(key.get("kty"), str) or not isinstance(key.get("kid", ""), str):
        raise Invalid("jwks", "Each key is an object whose kty, and kid if there is one, are text.")
    if key["kty"] == "oct" or not _PRIVATE.isdisjoint(key):
        raise Invalid("jwks", "Only public keys belong here: this one is secret. Consider it compromised.")
    if key["kty"] not in {"RSA", "EC", "OKP"}:
        # RFC 7517 §5: keys of other types are ignored.
        return
    try:
        public_keys.parse(key)
    except ValueError as error:
        raise Invalid("jwks", "One of the keys cannot be read, or is an RSA key of an unusual length.") from error


def check_has_key(client: Client, name: str, algorithms: tuple[str, ...], use: str) -> None:
    """One of the client's keys fits one of these algorithms, as far as can be seen without fetching any.

    Raises:
        Invalid: naming `name`, the member that needs the key.
    """
    if client.jwks is None and client.jwks_uri is None:
        raise Invalid(name, "This needs keys of the client, in jwks or at jwks_uri.")
    keys = client.jwks["keys"] if client.jwks is not None else []
    if client.jwks is not None and not any(public_keys.fitting(keys, algorithm, use) for algorithm in algorithms):
        raise Invalid(name, "None of the keys in jwks fits it.")
