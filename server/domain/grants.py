"""Grants: the rows that consents create and everything issued points to; revoking one ends all of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ForeignKey, select, update
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm.attributes import set_committed_value

from server.domain import audit_log, scopes
from server.domain.audit_events import AuditEvent
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base, count_changed


class Grant(Base):
    """What one person allowed one client in one authorization, and how they were signed in then."""

    __tablename__ = "grants"

    id: Mapped[str] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    #: Of the sign-in; the session row itself may be gone.
    session_id: Mapped[str] = mapped_column(index=True)
    scopes: Mapped[list[str]]
    audience: Mapped[str]
    nonce: Mapped[str | None]
    #: What the `claims` parameter asked for, by where it is to stand (OpenID Connect Core §5.5).
    requested_claims: Mapped[dict[str, Any] | None]
    auth_time: Mapped[datetime]
    amr: Mapped[list[str]]
    acr: Mapped[str]
    created_at: Mapped[datetime]
    #: When refreshing ends, however often it happened.
    expires_at: Mapped[datetime] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(index=True)
    revocation_reason: Mapped[str | None]

    @property
    def scope_set(self) -> frozenset[str]:
        """The granted scopes."""
        return frozenset(self.scopes)


@dataclass(frozen=True)
class SignInFacts:
    """How the person of a new grant was signed in."""

    session_id: str
    auth_time: datetime
    amr: list[str]
    acr: str
    #: When the session ends at the latest.
    ends_at: datetime


@dataclass(frozen=True)
class Granted:
    """What the person allowed, and what the client said with it."""

    scopes: frozenset[str]
    nonce: str | None = None
    claims: dict[str, Any] | None = None


def create_grant(work: UnitOfWork, client_id: str, user_id: str, granted: Granted, sign_in: SignInFacts) -> Grant:
    """Records one authorization; without `offline_access` it ends with the session (OpenID Connect Core §11)."""
    expires_at = work.now + timedelta(seconds=work.settings.refresh_token_lifetime)
    if scopes.OFFLINE_ACCESS not in granted.scopes:
        expires_at = min(expires_at, sign_in.ends_at)
    grant = Grant(
        id=secrets.new_id(),
        client_id=client_id,
        user_id=user_id,
        session_id=sign_in.session_id,
        scopes=sorted(granted.scopes),
        audience=work.settings.audience,
        nonce=granted.nonce,
        requested_claims=granted.claims,
        auth_time=sign_in.auth_time,
        amr=sign_in.amr,
        acr=sign_in.acr,
        created_at=work.now,
        expires_at=expires_at,
        revoked_at=None,
        revocation_reason=None,
    )
    work.db.add(grant)
    work.db.flush()
    return grant


def revoke_grant(work: UnitOfWork, grant: Grant, reason: str) -> bool:
    """Ends the grant with every code and token under it; whether it was this call that did. Idempotent."""
    now = work.now
    revocation = update(Grant).where(Grant.id == grant.id, Grant.revoked_at.is_(None))
    # Of several at once one counts: the reason and the audit row are the first one's.
    is_revoked = count_changed(work.db, revocation.values(revoked_at=now, revocation_reason=reason)) == 1
    if is_revoked:
        set_committed_value(grant, "revoked_at", now)
        set_committed_value(grant, "revocation_reason", reason)
        audit_log.record(
            work, AuditEvent.GRANT_REVOKED, user_id=grant.user_id, client_id=grant.client_id, reason=reason
        )
    return is_revoked


def revoke_grants_of_user(work: UnitOfWork, user_id: str, reason: str) -> None:
    """Ends everything the person has granted."""
    for grant in work.db.scalars(select(Grant).where(Grant.user_id == user_id, Grant.revoked_at.is_(None))):
        revoke_grant(work, grant, reason)


def revoke_grants_of_session(work: UnitOfWork, session_id: str) -> None:
    """Ends the grants that were to last no longer than the session: those without `offline_access`."""
    query = select(Grant).where(Grant.session_id == session_id, Grant.revoked_at.is_(None))
    for grant in work.db.scalars(query):
        if scopes.OFFLINE_ACCESS not in grant.scope_set:
            revoke_grant(work, grant, "signed_out")
