"""Access tokens are not stored; what is stored is the revocation of single ones, by `jti`, until they expire anyway."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import Base, insert_if_absent


class RevokedAccessToken(Base):
    """One access token that ended before its time."""

    __tablename__ = "revoked_access_tokens"

    jti: Mapped[str] = mapped_column(primary_key=True)
    revoked_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


def is_revoked(work: UnitOfWork, jti: str) -> bool:
    """Whether the access token of this `jti` was revoked by itself."""
    return work.db.get(RevokedAccessToken, jti) is not None


def revoke_access_token(work: UnitOfWork, jti: str, client_id: str, expires_at: datetime) -> None:
    """Ends one access token. Idempotent."""
    values = {"jti": jti, "revoked_at": work.now, "expires_at": expires_at}
    if insert_if_absent(work.db, RevokedAccessToken, values):
        audit_log.record(work, AuditEvent.TOKEN_REVOKED, client_id=client_id, kind="access_token")
