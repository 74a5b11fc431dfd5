"""Discovery: exactly what works, and nothing else (RFC 8414, OpenID Connect Discovery §3, RFC 9207 §3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from server.config import Settings
from server.domain import scopes, signing_keys
from server.domain.claims import CLAIMS_OF_SCOPE
from server.domain.login_flow import PASSWORD_ACR
from server.domain.policy.client_metadata import AUTH_METHODS
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose
from server.protocol import pkce
from server.protocol.authorization.response_modes import RESPONSE_MODES
from server.protocol.authorization_server import GRANT_TYPES, RESPONSE_TYPES

_CONFIDENTIAL_METHODS = [method for method in AUTH_METHODS if method != "none"]
_ID_TOKEN_CLAIMS = ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash"]


def jwks_document(work: UnitOfWork) -> bytes:
    """The JWK Set (RFC 7517 §5), written once for each change of the keys; from memory while the database is away."""

    def load() -> tuple[bytes, datetime | None]:
        keys = signing_keys.published_keys(work)
        return encode_document({"keys": keys}), signing_keys.next_removal(work)

    found = work.runtime.registry_cache.get_even_if_away("jwks", load)
    if found is not None and (found[1] is None or found[1] > work.now):
        return found[0]
    return encode_document({"keys": signing_keys.published_keys(work)})


def encode_document(document: Mapping[str, Any]) -> bytes:
    """A JSON document as all endpoints write it: sorted, compact, ASCII, and a line end."""
    return (json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n").encode()


def authorization_server_metadata(settings: Settings) -> dict[str, Any]:
    """RFC 8414 §2, for OAuth clients that know nothing of OpenID."""
    return {
        "issuer": settings.issuer,
        "authorization_endpoint": settings.url("/oauth/authorize"),
        "token_endpoint": settings.url("/oauth/token"),
        "jwks_uri": settings.url("/.well-known/jwks.json"),
        "scopes_supported": list(scopes.catalogue(settings)),
        "response_types_supported": list(RESPONSE_TYPES),
        "response_modes_supported": list(RESPONSE_MODES),
        "grant_types_supported": list(GRANT_TYPES),
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "revocation_endpoint": settings.url("/oauth/revoke"),
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "introspection_endpoint": settings.url("/oauth/introspect"),
        "introspection_endpoint_auth_methods_supported": _CONFIDENTIAL_METHODS,
        "code_challenge_methods_supported": list(pkce.METHODS),
        "authorization_response_iss_parameter_supported": True,
    }


def openid_provider_metadata(settings: Settings) -> dict[str, Any]:
    """OpenID Connect Discovery §3: the above, and what is OpenID's own."""
    return authorization_server_metadata(settings) | {
        "userinfo_endpoint": settings.url("/oauth/userinfo"),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(jose.SIGNING_ALGORITHMS),
        "acr_values_supported": [PASSWORD_ACR],
        "claims_supported": [*_ID_TOKEN_CLAIMS, *(claim for claims in CLAIMS_OF_SCOPE.values() for claim in claims)],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }
