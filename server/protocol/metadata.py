"""Discovery: exactly what works, and nothing else (RFC 8414, OpenID Connect Discovery §3, RFC 9207 §3)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from server.config import Settings
from server.domain import scopes, signing_keys
from server.domain.claims import CLAIMS_OF_SCOPE
from server.domain.login_flow import METHODS
from server.domain.policy.acr_ladder import reached
from server.domain.policy.client_metadata import AUTH_METHODS, GRANT_TYPES, JWT_BEARER, RESPONSE_TYPES, SUBJECT_TYPES
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose, jwe
from server.protocol import pkce
from server.protocol.authorization import request_object
from server.protocol.authorization.response_modes import RESPONSE_MODES
from server.protocol.client_authentication import client_assertion

_CONFIDENTIAL_METHODS = [method for method in AUTH_METHODS if method != "none"]
_ID_TOKEN_CLAIMS = ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash", "c_hash"]


def _protected(what: str, signing: Sequence[str], encryption: Sequence[str]) -> dict[str, list[str]]:
    return {
        f"{what}_signing_alg_values_supported": list(signing),
        f"{what}_encryption_alg_values_supported": list(encryption),
        f"{what}_encryption_enc_values_supported": list(jwe.CONTENT_ENCRYPTIONS),
    }


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
#: JARM §4.
_ANSWERS_AS_JWT: Final = _protected("authorization", jose.SIGNING_ALGORITHMS, jwe.ENCRYPTION_ALGORITHMS)
#: RFC 9101 §10.5, OpenID Connect Discovery §3.
_REQUESTS_AS_JWT: Final[dict[str, Any]] = {
    **_protected("request_object", request_object.SIGNING_ALGORITHMS, jwe.DECRYPTION_ALGORITHMS),
    "request_parameter_supported": True,
    "request_uri_parameter_supported": True,
    "require_request_uri_registration": True,
}


def jwks_document(work: UnitOfWork) -> bytes:
    """The JWK Set (RFC 7517 §5), written once for each change of the keys; from memory while the database is away."""

    def load() -> tuple[bytes, datetime | None]:
        keys = signing_keys.jwk_set(work)
        return encode_document({"keys": keys}), signing_keys.next_removal(work)

    found = work.runtime.registry_cache.get_even_if_away("jwks", load)
    if found is not None and (found[1] is None or found[1] > work.now):
        return found[0]
    return encode_document({"keys": signing_keys.jwk_set(work)})


def encode_document(document: Mapping[str, Any]) -> bytes:
    """A JSON document as all endpoints write it: sorted, compact, ASCII, and a line end."""
    return (_ENCODER.encode(document) + "\n").encode()


def authorization_server_metadata(settings: Settings) -> dict[str, Any]:
    """RFC 8414 §2, for OAuth clients that know nothing of OpenID."""
    document: dict[str, Any] = {
        "issuer": settings.issuer,
        "authorization_endpoint": settings.url("/oauth/authorize"),
        "token_endpoint": settings.url("/oauth/token"),
        "jwks_uri": settings.url("/.well-known/jwks.json"),
        "scopes_supported": scopes.advertised(settings),
        "response_types_supported": list(RESPONSE_TYPES),
        "response_modes_supported": list(RESPONSE_MODES),
        "grant_types_supported": [*GRANT_TYPES, JWT_BEARER],
        "code_challenge_methods_supported": list(pkce.METHODS),
        "authorization_response_iss_parameter_supported": True,
        "revocation_endpoint": settings.url("/oauth/revoke"),
        "introspection_endpoint": settings.url("/oauth/introspect"),
    }
    for endpoint, methods in (
        ("token_endpoint", AUTH_METHODS),
        ("revocation_endpoint", AUTH_METHODS),
        ("introspection_endpoint", _CONFIDENTIAL_METHODS),
    ):
        document[f"{endpoint}_auth_methods_supported"] = list(methods)
        document[f"{endpoint}_auth_signing_alg_values_supported"] = list(client_assertion.SIGNING_ALGORITHMS)
    if settings.registration != "off":
        document["registration_endpoint"] = settings.url("/oauth/register")
    return document | _ANSWERS_AS_JWT | _REQUESTS_AS_JWT


def openid_provider_metadata(settings: Settings) -> dict[str, Any]:
    """OpenID Connect Discovery §3: the above, and what is OpenID's own."""
    return authorization_server_metadata(settings) | {
        "userinfo_endpoint": settings.url("/oauth/userinfo"),
        "subject_types_supported": list(SUBJECT_TYPES),
        **_protected("id_token", jose.SIGNING_ALGORITHMS, jwe.ENCRYPTION_ALGORITHMS),
        **_protected("userinfo", jose.SIGNING_ALGORITHMS, jwe.ENCRYPTION_ALGORITHMS),
        "acr_values_supported": list(reached(settings.acr_ladder, METHODS)),
        "claims_supported": [*_ID_TOKEN_CLAIMS, *(claim for claims in CLAIMS_OF_SCOPE.values() for claim in claims)],
        "claims_parameter_supported": True,
        # RP-Initiated Logout §2.1, Back-Channel Logout §2.1, Front-Channel Logout §3, Session Management §3.3.
        "end_session_endpoint": settings.url("/logout"),
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "frontchannel_logout_supported": True,
        "frontchannel_logout_session_supported": True,
        "check_session_iframe": settings.url("/oauth/check-session"),
    }
