"""Authorization codes: one use, 60 seconds, bound to client, redirect URI and challenge (RFC 6749 §4.1, RFC 7636)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ForeignKey, update
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.grants import Grant, find_grant, revoke_grant
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base, commit_before_raising, count_changed

_PREFIX: Final = "ac_"


class AuthorizationCode(Base):
    """One code, stored as a digest; the row outlives its use, so that a second use is recognised."""

    __tablename__ = "authorization_codes"

    code_digest: Mapped[str] = mapped_column(primary_key=True)
    grant_id: Mapped[str] = mapped_column(ForeignKey("grants.id", ondelete="CASCADE"), index=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"))
    redirect_uri: Mapped[str]
    #: S256, as there is no other (RFC 7636 §4.2).
    code_challenge: Mapped[str | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    consumed_at: Mapped[datetime | None]


def issue_authorization_code(work: UnitOfWork, grant: Grant, redirect_uri: str, code_challenge: str | None) -> str:
    """Makes the code that redeems `grant` and returns it, this once."""
    code = secrets.new_secret(_PREFIX)
    work.db.add(
        AuthorizationCode(
            code_digest=secrets.digest(code),
            grant_id=grant.id,
            client_id=grant.client_id,
            redirect_uri=redirect_uri,
            code_challenge=code_challenge,
            created_at=work.now,
            expires_at=work.now + timedelta(seconds=work.settings.authorization_code_lifetime),
            consumed_at=None,
        )
    )
    work.db.flush()
    audit_log.record(work, AuditEvent.AUTHORIZATION_CODE_ISSUED, user_id=grant.user_id, client_id=grant.client_id)
    return code


def find_authorization_code(work: UnitOfWork, code: str) -> AuthorizationCode | None:
    """The row of a presented code, whatever its state, or None."""
    return work.db.get(AuthorizationCode, secrets.digest(code)) if code.startswith(_PREFIX) else None


def consume_authorization_code(work: UnitOfWork, code: AuthorizationCode) -> bool:
    """Spends the code, in the transaction that issues its tokens. False when it was spent before.

    One conditional UPDATE decides: of any number of simultaneous redemptions exactly one sees its row change.
    """
    statement = (
        update(AuthorizationCode)
        .where(AuthorizationCode.code_digest == code.code_digest, AuthorizationCode.consumed_at.is_(None))
        .values(consumed_at=work.now)
    )
    return count_changed(work.db, statement) == 1


def revoke_for_reuse(work: UnitOfWork, code: AuthorizationCode) -> None:
    """A spent code came back, fully valid: whatever it gave is revoked, and that stays (RFC 6749 §4.1.2)."""
    grant = find_grant(work, code.grant_id)
    if grant is not None:
        audit_log.record(work, AuditEvent.AUTHORIZATION_CODE_REUSED, user_id=grant.user_id, client_id=grant.client_id)
        revoke_grant(work, grant, "authorization_code_reused")
    commit_before_raising(work.db)
