"""Clients: the registry of applications, in RFC 7591's words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, ForeignKey, bindparam, false, select, update
from sqlalchemy.orm import Mapped, column_property, mapped_column

from server.domain import audit_log, scopes
from server.domain.audit_events import AuditEvent
from server.domain.errors import NotFound
from server.domain.organizations import Organization
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import Base, columns_of, count_changed, snapshot

#: Who made a client, when that person was deleted.
MAKER_GONE: Final = "gone"
#: What a client id looks like; nothing else is looked up.
CLIENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~\-]{0,99}")


class Client(Base):
    """One registered application."""

    __tablename__ = "clients"

    id: Mapped[str] = mapped_column(primary_key=True)
    client_name: Mapped[str]
    client_type: Mapped[str]
    application_type: Mapped[str]
    token_endpoint_auth_method: Mapped[str]
    grant_types: Mapped[list[str]]
    response_types: Mapped[list[str]]
    redirect_uris: Mapped[list[str]]
    post_logout_redirect_uris: Mapped[list[str]]
    scope: Mapped[str]
    client_uri: Mapped[str | None]
    policy_uri: Mapped[str | None]
    tos_uri: Mapped[str | None]
    #: Off only for old confidential clients that cannot do PKCE.
    require_pkce: Mapped[bool]
    #: Off only for confidential clients; a public client's refresh tokens always rotate (RFC 9700 §4.14.2).
    rotate_refresh_tokens: Mapped[bool]
    #: `offline_access`: refresh tokens for that scope only; `always`: at every authorization.
    refresh_token_policy: Mapped[str]
    #: `full`: granted profile and email claims stand in the ID token; `lean`: at userinfo only.
    id_token_claims: Mapped[str]
    id_token_signed_response_alg: Mapped[str]
    access_token_signed_response_alg: Mapped[str]
    #: The deployment's own application: no consent page.
    is_first_party: Mapped[bool]
    #: A resource server, which may introspect tokens that were issued to others.
    may_introspect_any: Mapped[bool]
    is_demo: Mapped[bool]
    #: The client's own keys (RFC 7517 §5), by value or to be fetched; never both (RFC 7591 §2).
    jwks: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    jwks_uri: Mapped[str | None]
    #: Whose `sub` it sees: `public` is the same for all clients, `pairwise` the sector's own.
    subject_type: Mapped[str] = mapped_column(default="public", server_default="public")
    sector_identifier_uri: Mapped[str | None]
    logo_uri: Mapped[str | None]
    contacts: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    token_endpoint_auth_signing_alg: Mapped[str | None]
    #: Takes only the issuer as the audience of the client's assertions, as a string (FAPI 2.0 §5.3.2.1).
    strict_assertion_audience: Mapped[bool] = mapped_column(default=False, server_default=false())
    id_token_encrypted_response_alg: Mapped[str | None]
    id_token_encrypted_response_enc: Mapped[str | None]
    userinfo_signed_response_alg: Mapped[str | None]
    userinfo_encrypted_response_alg: Mapped[str | None]
    userinfo_encrypted_response_enc: Mapped[str | None]
    request_object_signing_alg: Mapped[str | None]
    request_object_encryption_alg: Mapped[str | None]
    request_object_encryption_enc: Mapped[str | None]
    authorization_signed_response_alg: Mapped[str] = mapped_column(default="RS256", server_default="RS256")
    authorization_encrypted_response_alg: Mapped[str | None]
    authorization_encrypted_response_enc: Mapped[str | None]
    request_uris: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    default_max_age: Mapped[int | None]
    require_auth_time: Mapped[bool] = mapped_column(default=False, server_default=false())
    default_acr_values: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    initiate_login_uri: Mapped[str | None]
    backchannel_logout_uri: Mapped[str | None]
    backchannel_logout_session_required: Mapped[bool] = mapped_column(default=False, server_default=false())
    frontchannel_logout_uri: Mapped[str | None]
    frontchannel_logout_session_required: Mapped[bool] = mapped_column(default=False, server_default=false())
    #: What the developer calls the software, the same for all its installations (RFC 7591 §2).
    software_id: Mapped[str | None]
    software_version: Mapped[str | None]
    #: Came by the registration endpoint: it counts against the quota, and goes when nobody ever uses it.
    registered_dynamically: Mapped[bool] = mapped_column(default=False, server_default=false())
    #: Whose it is; None for the operator's own.
    organization_id: Mapped[str | None] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"), index=True)
    #: `live` or `test`.
    environment: Mapped[str] = mapped_column(default="live", server_default="live")
    #: Whether JWTs that the client itself signs are taken as bearer tokens.
    jwt_authentication: Mapped[bool] = mapped_column(default=False, server_default=false())
    #: `rich`: access tokens tell the person's name, address, organization and permissions; `lean`: they do not.
    access_token_claims: Mapped[str] = mapped_column(default="lean", server_default="lean")
    #: The member of the organization who made it, whose rights bound it; `MAKER_GONE` when they were deleted. None for
    #: what the operator made: so there is no foreign key that could make it None.
    created_by: Mapped[str | None] = mapped_column(index=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    #: Since when its organization is suspended, if it is.
    organization_suspended_at: Mapped[datetime | None] = column_property(
        select(Organization.suspended_at)
        .where(Organization.id == organization_id)
        .correlate_except(Organization)
        .scalar_subquery()
    )

    @property
    def is_public(self) -> bool:
        """Whether the client cannot keep a secret (RFC 6749 §2.1)."""
        return self.token_endpoint_auth_method == "none"

    @property
    def is_native(self) -> bool:
        """Whether it is an application on the person's device (RFC 8252)."""
        return self.application_type == "native"

    @property
    def allowed_scopes(self) -> frozenset[str]:
        """The scopes the client was registered for."""
        return scopes.parse(self.scope)


def find_client(work: UnitOfWork, client_id: str) -> Client | None:
    """The client of this id, disabled or not, or None."""
    if not CLIENT_ID.fullmatch(client_id):
        return None
    return work.db.get(Client, client_id)


def find_client_anew(work: UnitOfWork, client_id: str) -> Client | None:
    """The client as the database has it now, whatever this work has read before."""
    return work.db.get(Client, client_id, populate_existing=True)


_BY_ID: Final = (
    select(Organization.suspended_at, *columns_of(Client))
    .select_from(Client)
    .outerjoin(Organization, Organization.id == Client.organization_id)
    .where(Client.id == bindparam("client_id"))
)


def registered_client(work: UnitOfWork, client_id: str) -> Client | None:
    """The client of this id for reading only, from memory while the registry is unchanged, or None."""
    if not CLIENT_ID.fullmatch(client_id):
        return None

    def load() -> Client | None:
        rows = work.read(_BY_ID, {"client_id": client_id})
        if not rows:
            return None
        suspended_at, *values = rows[0]
        return snapshot(Client, values, organization_suspended_at=suspended_at)

    return work.from_registry((Client, client_id), load)


def is_like_client_id(work: UnitOfWork, text: str) -> bool:
    """Whether a client has this id, in whatever case: there are databases that do not tell one from the other."""

    def load() -> frozenset[str]:
        return frozenset(client_id.casefold() for (client_id,) in work.read(select(Client.id), {}))

    return text.casefold() in (work.from_registry("client_ids", load) or frozenset())


def get_client(work: UnitOfWork, client_id: str) -> Client:
    """The client of this id.

    Raises:
        NotFound: when there is none.
    """
    client = find_client(work, client_id)
    if client is None:
        raise NotFound(f"There is no client {client_id}.")
    return client


def lock_client(work: UnitOfWork, client_id: str) -> Client | None:
    """The client of this id, which nobody else changes or removes before this transaction ends, or None."""
    # What points to the client may still be written meanwhile.
    query = select(Client).where(Client.id == client_id).with_for_update(key_share=True)
    return work.db.scalars(query.execution_options(populate_existing=True)).one_or_none()


def list_clients(work: UnitOfWork) -> Sequence[Client]:
    """All clients, oldest first."""
    return work.db.scalars(select(Client).order_by(Client.created_at, Client.id)).all()


def has_demo_client(work: UnitOfWork) -> bool:
    """Whether `gatepost dev` seeded this database."""
    return work.db.scalars(select(Client.id).where(Client.is_demo)).first() is not None


def forget_maker(work: UnitOfWork, user_id: str) -> None:
    """Takes the person's name off the clients they made; what is bound by the rights of nobody has none."""
    count_changed(work.db, update(Client).where(Client.created_by == user_id).values(created_by=MAKER_GONE))


def belonging_of(client: Client) -> dict[str, audit_log.Detail]:
    """Where an audit row about the client belongs: its organization and world, or nowhere if it is the operator's."""
    if client.organization_id is None:
        return {}
    return {"organization_id": client.organization_id, "environment": client.environment}


def record_of_client(work: UnitOfWork, event: AuditEvent, client: Client, **details: audit_log.Detail) -> None:
    """Writes an audit row about the client, where its organization finds it."""
    audit_log.record(work, event, user_id=None, client_id=client.id, **belonging_of(client), **details)


def disable_client(work: UnitOfWork, client: Client) -> None:
    """Suspends the client: nothing of its works, at once and everywhere, until it is enabled. Idempotent."""
    if client.disabled_at is None:
        client.disabled_at = client.updated_at = work.now
        record_of_client(work, AuditEvent.CLIENT_DISABLED, client)


def enable_client(work: UnitOfWork, client: Client) -> None:
    """Lets the client work again. Idempotent."""
    if client.disabled_at is not None:
        client.disabled_at, client.updated_at = None, work.now
        record_of_client(work, AuditEvent.CLIENT_ENABLED, client)


def delete_client(work: UnitOfWork, client: Client) -> None:
    """Removes the client with its secrets, consents and grants."""
    work.db.delete(client)
    work.db.flush()
    record_of_client(work, AuditEvent.CLIENT_DELETED, client)
