"""Authorization codes: one use, 60 seconds, bound to client, redirect URI and challenge (RFC 6749 §4.1, RFC 7636)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ForeignKey, Select, bindparam, null, select, update
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.consumption import Consumption, Spent, audit_insert, audit_parameters
from server.domain.grants import Grant, revoke_grant
from server.domain.refresh_tokens import refresh_token_insert, refresh_token_parameters
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from server.infra import secrets
from server.infra.database import Base, columns_of, commit_before_raising, detached_each, table_of

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


@dataclass(frozen=True)
class KnownCode:
    """A code's row, whatever its state, with the grant it redeems and the person who gave that."""

    row: AuthorizationCode
    grant: Grant
    user: User


_CODES: Final = table_of(AuthorizationCode)
_BY_DIGEST: Final = (
    select(*columns_of(AuthorizationCode, Grant, User))
    .join_from(AuthorizationCode, Grant, Grant.id == AuthorizationCode.grant_id)
    .join(User, User.id == Grant.user_id)
    .where(AuthorizationCode.code_digest == bindparam("digest"))
)
_NOW: Final = bindparam("now", type_=_CODES.c.consumed_at.type)
_SPEND: Final = (
    update(_CODES)
    .where(_CODES.c.code_digest == bindparam("digest"), _CODES.c.consumed_at.is_(None))
    .values(consumed_at=_NOW)
    .returning(_CODES.c.grant_id)
)


def _spent(spent: Spent) -> Select[Any]:
    return select(spent.c.grant_id)


_REDEMPTION: Final = Consumption(_SPEND, (audit_insert,), _spent)
_REDEMPTION_WITH_REFRESH_TOKEN: Final = Consumption(
    _SPEND, (lambda spent: refresh_token_insert(spent, null()), audit_insert), _spent
)


def find_authorization_code(work: UnitOfWork, code: str) -> KnownCode | None:
    """What the database knows of a presented code now, for reading only, or None."""
    if not code.startswith(_PREFIX):
        return None
    rows = work.read(_BY_DIGEST, {"digest": secrets.digest(code)})
    return KnownCode(*detached_each((AuthorizationCode, Grant, User), rows[0])) if rows else None


def redeem_authorization_code(work: UnitOfWork, code: KnownCode, refresh_token: str | None) -> bool:
    """Spends the code and stores the refresh token issued for it, if any. False when it was spent before."""
    now = work.now
    parameters = {
        "digest": code.row.code_digest,
        "now": now,
        **audit_parameters(work, AuditEvent.TOKEN_ISSUED, code.row.client_id, "authorization_code"),
        **(refresh_token_parameters(work, now, refresh_token) if refresh_token is not None else {}),
    }
    redemption = _REDEMPTION if refresh_token is None else _REDEMPTION_WITH_REFRESH_TOKEN
    if redemption.run(work, parameters) is None:
        return False
    work.runtime.metrics.tell(AuditEvent.TOKEN_ISSUED)
    return True


def revoke_for_reuse(work: UnitOfWork, code: KnownCode) -> None:
    """A spent code came back, fully valid: whatever it gave is revoked, and that stays (RFC 6749 §4.1.2)."""
    if revoke_grant(work, code.grant, "authorization_code_reused"):
        audit_log.record(
            work, AuditEvent.AUTHORIZATION_CODE_REUSED, user_id=code.grant.user_id, client_id=code.grant.client_id
        )
    commit_before_raising(work.db)
