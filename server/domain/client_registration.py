"""Registering a client: what may be asked for, and the document that shows the result (RFC 7591).

What is refused, and why, stands in `client_checks.py`; the sector's file is asked for by `sector_identifiers.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from server.domain import scopes
from server.domain.audit_events import AuditEvent
from server.domain.client_checks import check_metadata
from server.domain.clients import Client, find_client, record_of_client
from server.domain.errors import Conflict
from server.domain.policy.client_metadata import (
    BELONGING,
    DEFAULTS,
    ENCRYPTIONS,
    MEMBERS,
    OWN_MEMBERS,
    ClientType,
    grant_types_for,
    in_order,
    response_types_for,
)
from server.domain.policy.environments import Environment
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets

#: What tokens are encrypted with when the client names only how the key is agreed on (Registration §2).
_DEFAULT_ENCRYPTION: Final = "A128CBC-HS256"


@dataclass(frozen=True)
class ClientMetadata:
    """What a registration asks for, by the names of its members; None takes the client type's default."""

    client_name: str
    client_type: ClientType
    client_id: str | None = None
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    scope: str | None = None
    token_endpoint_auth_method: str | None = None
    token_endpoint_auth_signing_alg: str | None = None
    grant_types: tuple[str, ...] | None = None
    response_types: tuple[str, ...] | None = None
    client_uri: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    contacts: tuple[str, ...] = ()
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    subject_type: str = "public"
    sector_identifier_uri: str | None = None
    id_token_signed_response_alg: str = "RS256"
    id_token_encrypted_response_alg: str | None = None
    id_token_encrypted_response_enc: str | None = None
    userinfo_signed_response_alg: str | None = None
    userinfo_encrypted_response_alg: str | None = None
    userinfo_encrypted_response_enc: str | None = None
    request_object_signing_alg: str | None = None
    request_object_encryption_alg: str | None = None
    request_object_encryption_enc: str | None = None
    authorization_signed_response_alg: str = "RS256"
    authorization_encrypted_response_alg: str | None = None
    authorization_encrypted_response_enc: str | None = None
    request_uris: tuple[str, ...] = ()
    default_max_age: int | None = None
    require_auth_time: bool = False
    default_acr_values: tuple[str, ...] = ()
    initiate_login_uri: str | None = None
    backchannel_logout_uri: str | None = None
    backchannel_logout_session_required: bool = False
    frontchannel_logout_uri: str | None = None
    frontchannel_logout_session_required: bool = False
    software_id: str | None = None
    software_version: str | None = None
    access_token_signed_response_alg: str = "RS256"
    require_pkce: bool = True
    rotate_refresh_tokens: bool = True
    refresh_token_policy: str = "offline_access"
    id_token_claims: str = "full"
    strict_assertion_audience: bool = False
    is_first_party: bool = False
    may_introspect_any: bool = False
    jwt_authentication: bool = False
    access_token_claims: str = "lean"
    organization_id: str | None = None
    environment: Environment = "live"
    created_by: str | None = None
    registered_dynamically: bool = False
    is_demo: bool = False


_COLUMNS: Final = tuple(field.name for field in fields(ClientMetadata) if field.name != "client_id")


def create_client(work: UnitOfWork, metadata: ClientMetadata) -> Client:
    """Registers an application; its secret, if it needs one, is `client_secrets.issue_client_secret`'s to give.

    Raises:
        Invalid: naming the metadata member and the reason.
        Conflict: when the chosen client id is taken.
    """
    client = prepare_client(work, metadata)
    add_client(work, client)
    return client


def prepare_client(work: UnitOfWork, metadata: ClientMetadata) -> Client:
    """The client that the metadata describe, checked, without a look at the database.

    Raises:
        Invalid: naming the metadata member and the reason.
    """
    client = Client(
        id=metadata.client_id or secrets.new_id(),
        **_values_of(metadata),
        created_at=work.now,
        updated_at=work.now,
        disabled_at=None,
    )
    check_metadata(work, client)
    return client


def add_client(work: UnitOfWork, client: Client, **audited: str) -> None:
    """Stores a prepared client; `audited` is what the audit row says of it beside its type.

    Raises:
        Conflict: when the chosen client id is taken.
    """
    if find_client(work, client.id) is not None:
        raise Conflict(f"There is a client {client.id} already.")
    work.db.add(client)
    work.db.flush()
    record_of_client(work, AuditEvent.CLIENT_CREATED, client, client_type=client.client_type, **audited)


def _values_of(metadata: ClientMetadata) -> dict[str, Any]:
    """The columns of the metadata, defaults filled in."""
    defaults = DEFAULTS[metadata.client_type]
    values = {name: getattr(metadata, name) for name in _COLUMNS}
    method = metadata.token_endpoint_auth_method or defaults.token_endpoint_auth_method
    grant_types, response_types = _flows_of(metadata)
    values |= {
        "client_name": metadata.client_name.strip(),
        "application_type": defaults.application_type,
        "token_endpoint_auth_method": method,
        "grant_types": grant_types,
        "response_types": response_types,
        "scope": scopes.format_scopes(scopes.parse(defaults.scope if metadata.scope is None else metadata.scope)),
    }
    if not method.endswith("_jwt"):
        values["token_endpoint_auth_signing_alg"] = None
    for alg, enc in ENCRYPTIONS:
        values[enc] = values[enc] or (_DEFAULT_ENCRYPTION if values[alg] else None)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _flows_of(metadata: ClientMetadata) -> tuple[list[str], list[str]]:
    """Grant types and response types; either follows from the other when it is not named (RFC 7591 §2.1)."""
    asked = metadata.response_types
    response_types = None if asked is None else list(dict.fromkeys(in_order(each) for each in asked))
    if metadata.grant_types is not None:
        grant_types = list(dict.fromkeys(metadata.grant_types))
    else:
        grant_types = list(DEFAULTS[metadata.client_type].grant_types)
        grant_types += sorted(grant_types_for(response_types or ()) - set(grant_types))
    return grant_types, list(response_types_for(grant_types)) if response_types is None else response_types


def describe(client: Client) -> dict[str, Any]:
    """All that is registered, with Gatepost's own members after the standard ones."""
    own = {name: getattr(client, name) for name in (*OWN_MEMBERS, *BELONGING)}
    own = {name: value for name, value in own.items() if value is not None}
    return describe_registration(client) | own | {"is_disabled": client.disabled_at is not None}


def describe_registration(client: Client) -> dict[str, Any]:
    """The registration as the client sees it (RFC 7591 §3.2.1)."""
    document = {"client_id": client.id, "client_id_issued_at": int(client.created_at.timestamp())}
    document |= {name: getattr(client, name) for name in MEMBERS}
    return {name: value for name, value in document.items() if value is not None}
