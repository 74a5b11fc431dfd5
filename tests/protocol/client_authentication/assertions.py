"""Tokens that a client signs, right ones and others: header, claims and signature each as a test wants them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from server.infra import jose
from server.protocol.client_authentication.presented import ASSERTION_TYPE
from tests.support.application import ISSUER, Gatepost

TOKEN_ENDPOINT = f"{ISSUER}/oauth/token"
_numbers = itertools.count(1)


@cache
def key_of(algorithm: str, owner: str = "the client") -> jose.SigningKey:
    """The private key that this owner has for an algorithm."""
    assert owner
    return jose.generate_key(algorithm)


def jwks_of(*keys: jose.SigningKey) -> dict[str, Any]:
    """The keys' public halves as a JWKS."""
    return {"keys": [jose.public_jwk(key) for key in keys]}


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A compact JWS of exactly this header and these claims."""
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{signed}.{encoded(sign(signed.encode()))}"


def signed(claims: Mapping[str, Any], key: jose.SigningKey, algorithm: str, **header: Any) -> str:
    """Signed with a private key; None leaves a member out of the header."""
    members = {"alg": algorithm, "kid": key.kid, **header}
    present = {name: value for name, value in members.items() if value is not None}
    return compact(present, claims, lambda data: jose.signature(key, algorithm, data))


def signed_with_secret(claims: Mapping[str, Any], secret: str, algorithm: str = "HS256") -> str:
    """Signed with a secret."""
    name = f"sha{algorithm[2:]}"
    assert name in hashlib.algorithms_available
    return compact({"alg": algorithm}, claims, lambda data: hmac.digest(secret.encode(), data, name))


def assertion_claims(gatepost: Gatepost, client_id: str, **changes: Any) -> dict[str, Any]:
    """The claims of a good assertion, changed; `...` leaves one out."""
    now = int(gatepost.clock.now().timestamp())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": TOKEN_ENDPOINT,
        "jti": f"assertion-{next(_numbers)}",
        "iat": now,
        "exp": now + 60,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ...}


def presenting(assertion: str, **form: str) -> dict[str, str]:
    """The form parameters that present an assertion."""
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion, **form}
