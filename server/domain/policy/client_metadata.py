"""What may a client of this type do, unless told otherwise? (RFC 7591 §2, OpenID Connect Registration §2, RFC 9700)"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

ClientType = Literal["web", "spa", "native", "machine", "device"]
CLIENT_TYPES: Final[tuple[ClientType, ...]] = ("web", "spa", "native", "machine", "device")
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
#: Comes with `jwt_authentication`, which the operator decides; nobody registers for it by name.
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GRANT_TYPES: Final = ("authorization_code", "refresh_token", "client_credentials", "implicit", TOKEN_EXCHANGE)
#: All that a client may be registered for, words in alphabetical order; OAuth's bare `token` is none (RFC 9700 §2.1.2).
RESPONSE_TYPES: Final = (
    "code",
    "code id_token",
    "code id_token token",
    "code token",
    "id_token",
    "id_token token",
    "none",
)
AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none")
SUBJECT_TYPES: Final = ("public", "pairwise")
#: What the ids of users, API keys, organizations, members, roles and invitations begin with, and no client's does:
#: a `sub` names one of them (RFC 9700 §4.15).
RESERVED_ID_PREFIXES: Final = ("usr_", "key_", "org_", "mem_", "rol_", "inv_")
APPLICATION_TYPES: Final = ("web", "native")
#: How tokens to the client, and its request objects, are encrypted: the member of the key, and of the content.
ENCRYPTIONS: Final = (
    ("id_token_encrypted_response_alg", "id_token_encrypted_response_enc"),
    ("userinfo_encrypted_response_alg", "userinfo_encrypted_response_enc"),
    ("authorization_encrypted_response_alg", "authorization_encrypted_response_enc"),
    ("request_object_encryption_alg", "request_object_encryption_enc"),
)
#: What a client may say of itself, in the order in which it is shown.
MEMBERS: Final = (
    "client_name",
    "application_type",
    "token_endpoint_auth_method",
    "token_endpoint_auth_signing_alg",
    "grant_types",
    "response_types",
    "redirect_uris",
    "post_logout_redirect_uris",
    "scope",
    "client_uri",
    "logo_uri",
    "policy_uri",
    "tos_uri",
    "contacts",
    "jwks",
    "jwks_uri",
    "subject_type",
    "sector_identifier_uri",
    "id_token_signed_response_alg",
    "id_token_encrypted_response_alg",
    "id_token_encrypted_response_enc",
    "userinfo_signed_response_alg",
    "userinfo_encrypted_response_alg",
    "userinfo_encrypted_response_enc",
    "request_object_signing_alg",
    "request_object_encryption_alg",
    "request_object_encryption_enc",
    "authorization_signed_response_alg",
    "authorization_encrypted_response_alg",
    "authorization_encrypted_response_enc",
    "request_uris",
    "default_max_age",
    "require_auth_time",
    "default_acr_values",
    "initiate_login_uri",
    "backchannel_logout_uri",
    "backchannel_logout_session_required",
    "frontchannel_logout_uri",
    "frontchannel_logout_session_required",
    "software_id",
    "software_version",
)
#: What the operator alone decides.
OWN_MEMBERS: Final = (
    "client_type",
    "access_token_signed_response_alg",
    "require_pkce",
    "rotate_refresh_tokens",
    "refresh_token_policy",
    "id_token_claims",
    "strict_assertion_audience",
    "is_first_party",
    "may_introspect_any",
    "jwt_authentication",
    "access_token_claims",
    "registered_dynamically",
)
#: Whose it is, and of which world: it never moves.
BELONGING: Final = ("organization_id", "environment")


@dataclass(frozen=True)
class ClientDefaults:
    """The safe start for one type of client."""

    token_endpoint_auth_method: str
    grant_types: tuple[str, ...]
    scope: str
    application_type: Literal["web", "native"] = "web"


_CODE: Final = ("authorization_code", "refresh_token")
_SIGN_IN: Final = "openid profile email offline_access"

DEFAULTS: Final[dict[ClientType, ClientDefaults]] = {
    "web": ClientDefaults("client_secret_basic", _CODE, _SIGN_IN),
    "spa": ClientDefaults("none", _CODE, _SIGN_IN),
    "native": ClientDefaults("none", _CODE, _SIGN_IN, "native"),
    "machine": ClientDefaults("client_secret_basic", ("client_credentials",), ""),
    # The device grant itself arrives with its endpoint; until then such a client can only be registered.
    "device": ClientDefaults("none", ("refresh_token",), _SIGN_IN, "native"),
}


def in_order(response_type: str) -> str:
    """The response type with its words in alphabetical order: their order means nothing (RFC 6749 §3.1.1)."""
    return " ".join(sorted(response_type.split()))


def grant_types_for(response_types: Iterable[str]) -> frozenset[str]:
    """The grant types that the response types need (RFC 7591 §2.1, OpenID Connect Registration §2)."""
    words = {word for response_type in response_types for word in response_type.split()}
    needed = {"authorization_code"} if "code" in words else set()
    return frozenset(needed | ({"implicit"} if words & {"id_token", "token"} else set()))


def response_types_for(grant_types: Iterable[str]) -> tuple[str, ...]:
    """The response types of a client that named its grant types only."""
    if "authorization_code" in grant_types:
        return ("code",)
    return ("id_token",) if "implicit" in grant_types else ()
