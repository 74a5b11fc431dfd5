"""Registering a client: what may be asked for, what is refused, and the document that shows the result (RFC 7591)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from server.domain import audit_log, redirect_uris, scopes
from server.domain.audit_events import AuditEvent
from server.domain.clients import CLIENT_ID, Client, find_client
from server.domain.errors import Conflict, Invalid
from server.domain.policy.client_metadata import AUTH_METHODS, DEFAULTS, GRANT_TYPES, ClientType
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import ID_PREFIX as USER_ID_PREFIX
from server.infra import jose, secrets


@dataclass(frozen=True)
class ClientMetadata:
    """What a registration asks for; None takes the client type's default."""

    client_name: str
    client_type: ClientType
    client_id: str | None = None
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    scope: str | None = None
    token_endpoint_auth_method: str | None = None
    grant_types: tuple[str, ...] | None = None
    client_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    require_pkce: bool = True
    rotate_refresh_tokens: bool = True
    refresh_token_policy: str = "offline_access"
    id_token_claims: str = "full"
    id_token_signed_response_alg: str = "RS256"
    access_token_signed_response_alg: str = "RS256"
    is_first_party: bool = False
    may_introspect_any: bool = False
    is_demo: bool = False


def create_client(work: UnitOfWork, metadata: ClientMetadata) -> Client:
    """Registers an application; its secret, if it needs one, is `client_secrets.issue_client_secret`'s to give.

    Raises:
        Invalid: naming the metadata member and the reason.
        Conflict: when the chosen client id is taken.
    """
    defaults = DEFAULTS[metadata.client_type]
    client = Client(
        id=metadata.client_id or secrets.new_id(),
        client_name=metadata.client_name.strip(),
        client_type=metadata.client_type,
        application_type=defaults.application_type,
        token_endpoint_auth_method=metadata.token_endpoint_auth_method or defaults.token_endpoint_auth_method,
        grant_types=list(metadata.grant_types if metadata.grant_types is not None else defaults.grant_types),
        response_types=list(defaults.response_types),
        redirect_uris=list(metadata.redirect_uris),
        post_logout_redirect_uris=list(metadata.post_logout_redirect_uris),
        scope=scopes.format_scopes(scopes.parse(defaults.scope if metadata.scope is None else metadata.scope)),
        client_uri=metadata.client_uri,
        policy_uri=metadata.policy_uri,
        tos_uri=metadata.tos_uri,
        require_pkce=metadata.require_pkce,
        rotate_refresh_tokens=metadata.rotate_refresh_tokens,
        refresh_token_policy=metadata.refresh_token_policy,
        id_token_claims=metadata.id_token_claims,
        id_token_signed_response_alg=metadata.id_token_signed_response_alg,
        access_token_signed_response_alg=metadata.access_token_signed_response_alg,
        is_first_party=metadata.is_first_party,
        may_introspect_any=metadata.may_introspect_any,
        is_demo=metadata.is_demo,
        created_at=work.now,
        updated_at=work.now,
        disabled_at=None,
    )
    check_metadata(work, client)
    if find_client(work, client.id) is not None:
        raise Conflict(f"There is a client {client.id} already.")
    work.db.add(client)
    work.db.flush()
    audit_log.record(work, AuditEvent.CLIENT_CREATED, client_id=client.id, client_type=client.client_type)
    return client


def check_metadata(work: UnitOfWork, client: Client) -> None:
    """Refuses metadata that contradicts itself or the deployment.

    Raises:
        Invalid: naming the first member at fault.
    """
    if not client.client_name or len(client.client_name) > 100 or not client.client_name.isprintable():
        raise Invalid("client_name", "The name has 1 to 100 printable characters.")
    if not client.is_first_party and _as_read(client.client_name) == _as_read(work.settings.issuer_name):
        raise Invalid("client_name", "This is the sign-in service's own name; people could not tell them apart.")
    if not CLIENT_ID.fullmatch(client.id) or client.id.startswith(USER_ID_PREFIX):
        raise Invalid("client_id", f"A client id has letters, digits and ._~- and does not begin with {USER_ID_PREFIX}")
    _check_methods(client)
    _check_redirect_uris(work, client)
    _check_scope(work, client)
    for name in ("client_uri", "policy_uri", "tos_uri"):
        uri = getattr(client, name)
        if uri is not None and not re.fullmatch(r"https://[!-~]{1,2000}", uri):
            raise Invalid(name, "This must be an https URL.")


def _as_read(name: str) -> str:
    """A name as a person reads it, whatever letters spell it."""
    return unicodedata.normalize("NFKC", name).casefold()


def _check_methods(client: Client) -> None:
    if client.token_endpoint_auth_method not in AUTH_METHODS:
        raise Invalid("token_endpoint_auth_method", f"This must be one of {', '.join(AUTH_METHODS)}.")
    for grant_type in client.grant_types:
        if grant_type not in GRANT_TYPES:
            raise Invalid("grant_types", f"These must be among {', '.join(GRANT_TYPES)}.")
    if client.is_public:
        if "client_credentials" in client.grant_types:
            raise Invalid("grant_types", "A client without a secret cannot use client_credentials.")
        if not client.require_pkce:
            raise Invalid("require_pkce", "PKCE cannot be switched off for a client without a secret.")
        if not client.rotate_refresh_tokens:
            raise Invalid("rotate_refresh_tokens", "The refresh tokens of a client without a secret always rotate.")
    for name, known in (
        ("refresh_token_policy", ("offline_access", "always")),
        ("id_token_claims", ("full", "lean")),
        ("id_token_signed_response_alg", jose.SIGNING_ALGORITHMS),
        ("access_token_signed_response_alg", jose.SIGNING_ALGORITHMS),
    ):
        if getattr(client, name) not in known:
            raise Invalid(name, f"This must be one of {', '.join(known)}.")


def _check_redirect_uris(work: UnitOfWork, client: Client) -> None:
    local_http = not work.settings.is_https
    for field in ("redirect_uris", "post_logout_redirect_uris"):
        for uri in getattr(client, field):
            redirect_uris.check_registrable(uri, native=client.is_native, local_http=local_http, field=field)
    if "authorization_code" in client.grant_types and not client.redirect_uris:
        raise Invalid("redirect_uris", "A client that sends people here to sign in needs at least one redirect URI.")


def _check_scope(work: UnitOfWork, client: Client) -> None:
    known = scopes.catalogue(work.settings)
    for name in sorted(client.allowed_scopes):
        if name not in known:
            raise Invalid("scope", f"This deployment has no scope {name!r}; it knows {', '.join(sorted(known))}.")
    acts_for_people = any(grant_type in client.grant_types for grant_type in ("authorization_code", "refresh_token"))
    if not acts_for_people and client.allowed_scopes & scopes.PERSONAL:
        raise Invalid("scope", "A client that acts for itself cannot have scopes that speak about a person.")


def describe(client: Client) -> dict[str, Any]:
    """The registration as RFC 7591 §3.2.1 shows it, with Gatepost's own members after the standard ones."""
    document = {
        "client_id": client.id,
        "client_id_issued_at": int(client.created_at.timestamp()),
        "client_name": client.client_name,
        "client_type": client.client_type,
        "application_type": client.application_type,
        "token_endpoint_auth_method": client.token_endpoint_auth_method,
        "grant_types": client.grant_types,
        "response_types": client.response_types,
        "redirect_uris": client.redirect_uris,
        "post_logout_redirect_uris": client.post_logout_redirect_uris,
        "scope": client.scope,
        "client_uri": client.client_uri,
        "policy_uri": client.policy_uri,
        "tos_uri": client.tos_uri,
        "require_pkce": client.require_pkce,
        "rotate_refresh_tokens": client.rotate_refresh_tokens,
        "refresh_token_policy": client.refresh_token_policy,
        "id_token_claims": client.id_token_claims,
        "id_token_signed_response_alg": client.id_token_signed_response_alg,
        "access_token_signed_response_alg": client.access_token_signed_response_alg,
        "is_first_party": client.is_first_party,
        "may_introspect_any": client.may_introspect_any,
        "is_disabled": client.disabled_at is not None,
    }
    return {name: value for name, value in document.items() if value is not None}
