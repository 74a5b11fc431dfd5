"""Housekeeping: what has no use any more is removed, in small batches. Nothing is ever correct only because of it.

Every rule checks expiry for itself; a deployment that never sweeps answers the same, from a larger database. This is
the one module that writes to tables it does not own: it deletes what nobody can use any more, and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from server.domain import audit_log
from server.domain.access_tokens import RevokedAccessToken
from server.domain.api_keys import ApiKey
from server.domain.audit_events import AuditEvent
from server.domain.authorization_codes import AuthorizationCode
from server.domain.authorization_requests import AuthorizationRequest
from server.domain.browsers import Browser
from server.domain.client_secrets import ClientSecret
from server.domain.clients import Client
from server.domain.consents import Consent
from server.domain.credential_limits import CredentialLimit
from server.domain.credential_usage import CredentialNetwork, CredentialUsage
from server.domain.grants import Grant
from server.domain.idempotent_responses import IdempotentResponse
from server.domain.initial_access_tokens import InitialAccessToken
from server.domain.invitations import Invitation
from server.domain.login_attempts import LoginAttempts
from server.domain.outbox import OutboxMessage
from server.domain.outgoing_mail import OutgoingMail
from server.domain.refresh_tokens import RefreshToken
from server.domain.sessions import Session
from server.domain.unit_of_work import UnitOfWork
from server.domain.used_assertions import UsedAssertion
from server.infra.database import Base, count_changed

BATCH: Final = 500
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
#: How long an initial access token that is used up or expired is still listed.
_TOKEN_MEMORY: Final = timedelta(days=14)
#: How long a signed-out person is still offered in the account chooser.
_CHOOSER_MEMORY: Final = timedelta(days=14)

#: How long it is known how often a credential was used: a year and a month, so that years can be compared.
_USAGE_MEMORY: Final = timedelta(days=396)

#: How long an API key that has ended is still listed, and a second leak of it recognised.
_KEY_MEMORY: Final = timedelta(days=90)

#: The table, the column that names its rows, and the condition under which they may go.
Rule = tuple[type[Base], InstrumentedAttribute[Any], Callable[[UnitOfWork], ColumnElement[bool]]]


def _is_over(work: UnitOfWork) -> ColumnElement[bool]:
    """Whether nothing that points to the grant can be valid, its access tokens too, and nobody is to be told of it.

    While the person is signed in, it is by their grants that the clients are known which signing out concerns.
    """
    since = work.now - timedelta(seconds=work.settings.access_token_lifetime) - _DAY
    return and_(or_(Grant.expires_at < since, Grant.revoked_at < since), ~_is_signed_in(work))


def _is_signed_in(work: UnitOfWork) -> ColumnElement[bool]:
    """Whether the grant's session goes on, or one on the same browser that may have replaced it."""
    own, last = aliased(Session), aliased(Session)
    is_same_person = and_(last.browser_id == own.browser_id, last.user_id == own.user_id)
    is_live = and_(last.ended_at.is_(None), last.expires_at > work.now)
    return select(own.id).join(last, is_same_person).where(own.id == Grant.session_id, is_live).exists()


def _is_unused(work: UnitOfWork) -> ColumnElement[bool]:
    """Whether a client that registered itself long ago has nobody who ever allowed it anything."""
    since = work.now - timedelta(days=work.settings.registration_unused_days)
    return and_(
        Client.registered_dynamically,
        Client.updated_at < since,
        ~exists().where(Consent.client_id == Client.id),
        ~exists().where(Grant.client_id == Client.id),
    )


def _is_used_up(work: UnitOfWork) -> ColumnElement[bool]:
    """Whether an initial access token registers nobody any more; the operator still sees it for a while."""
    since = work.now - _TOKEN_MEMORY
    return or_(
        InitialAccessToken.expires_at < since,
        and_(InitialAccessToken.uses_left == 0, InitialAccessToken.created_at < since),
    )


RULES: Final[dict[str, Rule]] = {
    # Late visitors are told for an hour that their request has expired; after that it is unknown.
    "authorization_requests": (
        AuthorizationRequest,
        AuthorizationRequest.id,
        lambda work: AuthorizationRequest.expires_at < work.now - _HOUR,
    ),
    # A code that comes back within a day of its expiry still tells that it was stolen.
    "authorization_codes": (
        AuthorizationCode,
        AuthorizationCode.code_digest,
        lambda work: AuthorizationCode.expires_at < work.now - _DAY,
    ),
    "revoked_access_tokens": (
        RevokedAccessToken,
        RevokedAccessToken.jti,
        lambda work: RevokedAccessToken.expires_at < work.now,
    ),
    # Spent tokens stay as long as they would have lived, so that their reuse is recognised.
    "refresh_tokens": (RefreshToken, RefreshToken.id, lambda work: RefreshToken.expires_at < work.now),
    "grants": (Grant, Grant.id, _is_over),
    "sessions": (
        Session,
        Session.id,
        # Not before its last possible end: signing out still looks for the grants of sessions that were replaced.
        lambda work: and_(
            Session.ends_at < work.now,
            or_(Session.ended_at < work.now - _CHOOSER_MEMORY, Session.expires_at < work.now - _CHOOSER_MEMORY),
        ),
    ),
    "browsers": (
        Browser,
        Browser.id,
        lambda work: and_(Browser.last_seen_at < work.now - _DAY, ~exists().where(Session.browser_id == Browser.id)),
    ),
    "client_secrets": (
        ClientSecret,
        ClientSecret.id,
        lambda work: ClientSecret.expires_at < work.now - _CHOOSER_MEMORY,
    ),
    "login_attempts": (LoginAttempts, LoginAttempts.bucket, lambda work: LoginAttempts.window_ends_at < work.now),
    "used_assertions": (UsedAssertion, UsedAssertion.id, lambda work: UsedAssertion.expires_at < work.now),
    # Whoever delivers them gives them up before; these are what nobody came for.
    "outbox": (OutboxMessage, OutboxMessage.id, lambda work: OutboxMessage.expires_at < work.now - _HOUR),
    "initial_access_tokens": (InitialAccessToken, InitialAccessToken.id, _is_used_up),
    "clients": (Client, Client.id, _is_unused),
    # Who comes late is told for a month that their invitation has expired.
    "invitations": (Invitation, Invitation.id, lambda work: Invitation.expires_at < work.now - timedelta(days=30)),
    "outgoing_mail": (OutgoingMail, OutgoingMail.id, lambda work: OutgoingMail.expires_at < work.now - _HOUR),
    "idempotent_responses": (
        IdempotentResponse,
        IdempotentResponse.id,
        lambda work: IdempotentResponse.expires_at < work.now,
    ),
    "credential_limits": (
        CredentialLimit,
        CredentialLimit.bucket,
        lambda work: CredentialLimit.window_ends_at < work.now,
    ),
    "credential_usage": (
        CredentialUsage,
        CredentialUsage.day,
        lambda work: CredentialUsage.day < (work.now - _USAGE_MEMORY).date().isoformat(),
    ),
    # With the credential, or when it goes by a rule of these.
    "credential_networks": (
        CredentialNetwork,
        CredentialNetwork.credential_id,
        lambda work: and_(
            ~exists().where(ApiKey.id == CredentialNetwork.credential_id),
            ~exists().where(Client.id == CredentialNetwork.credential_id),
        ),
    ),
    "api_keys": (
        ApiKey,
        ApiKey.id,
        lambda work: or_(ApiKey.revoked_at < work.now - _KEY_MEMORY, ApiKey.expires_at < work.now - _KEY_MEMORY),
    ),
}


def sweep(work: UnitOfWork, batch: int = BATCH) -> dict[str, int]:
    """Removes at most `batch` rows by each rule; returns how many by table. Call it again while any is full."""
    removed = {name: remove(work, name, find_due(work, name, batch)) for name in RULES}
    return {name: count for name, count in removed.items() if count}


def find_due(work: UnitOfWork, name: str, batch: int = BATCH) -> Sequence[Any]:
    """The keys of at most `batch` rows that may go; only read, so that the search locks nothing."""
    _, column, condition = RULES[name]
    return work.db.scalars(select(column).where(condition(work)).limit(batch)).all()


def remove(work: UnitOfWork, name: str, keys: Sequence[Any]) -> int:
    """Removes those of the rows that still may go; returns how many did."""
    if not keys:
        return 0
    table, column, condition = RULES[name]
    # Whoever else is sweeping takes other rows.
    due = select(column).where(column.in_(keys), condition(work)).with_for_update(skip_locked=True)
    found = work.db.scalars(due).all()
    for client_id in found if table is Client else ():
        audit_log.record(work, AuditEvent.CLIENT_DELETED, client_id=client_id, reason="unused")
    return count_changed(work.db, delete(table).where(column.in_(found)))
