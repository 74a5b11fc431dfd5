"""Access tokens are not stored; what is stored is the revocation of single ones, by `jti`, until they expire anyway."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, exists, select
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.grants import Grant
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from server.infra.database import Base, columns_of, detached_each, insert_if_absent


class RevokedAccessToken(Base):
    """One access token that ended before its time."""

    __tablename__ = "revoked_access_tokens"

    jti: Mapped[str] = mapped_column(primary_key=True)
    revoked_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True)
class Standing:
    """What the database says about an access token now."""

    is_revoked: bool
    #: None for tokens that no grant stands behind, and for those whose grant is gone.
    grant: Grant | None
    user: User | None


_IS_REVOKED: Final = select(exists().where(RevokedAccessToken.jti == bindparam("jti")))
_STANDING: Final = (
    select(exists().where(RevokedAccessToken.jti == bindparam("jti")), *columns_of(Grant, User))
    .join_from(Grant, User, User.id == Grant.user_id)
    .where(Grant.id == bindparam("grant_id"))
)


def standing_of(work: UnitOfWork, jti: str, grant_id: str | None) -> Standing:
    """Whether the token was revoked by itself, and the grant and person behind it; for reading only."""
    if grant_id is None:
        return Standing(bool(work.read(_IS_REVOKED, {"jti": jti})[0][0]), None, None)
    rows = work.read(_STANDING, {"jti": jti, "grant_id": grant_id})
    if not rows:
        return Standing(False, None, None)
    is_revoked, *values = rows[0]
    return Standing(bool(is_revoked), *detached_each((Grant, User), values))


def revoke_access_token(work: UnitOfWork, jti: str, client_id: str, expires_at: datetime) -> None:
    """Ends one access token. Idempotent."""
    values = {"jti": jti, "revoked_at": work.now, "expires_at": expires_at}
    if insert_if_absent(work.db, RevokedAccessToken, values):
        audit_log.record(work, AuditEvent.TOKEN_REVOKED, client_id=client_id, kind="access_token")
