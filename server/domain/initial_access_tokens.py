"""Initial access tokens: the operator's leave to register clients, by number and by time (RFC 7591 §3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import Invalid, NotFound
from server.domain.policy.lifetimes import is_expired
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base, columns_of, count_changed, detached

PREFIX: Final = "iat_"
_MAXIMUM_LABEL: Final = 100


class InitialAccessToken(Base):
    """One token. SHA-256 suffices: it has 256 random bits."""

    __tablename__ = "initial_access_tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    token_digest: Mapped[str] = mapped_column(unique=True)
    #: For whom it was made, in the operator's words.
    label: Mapped[str]
    #: How many clients it may still register; None for any number.
    uses_left: Mapped[int | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]

    def is_good(self, now: datetime) -> bool:
        """Whether a client may still be registered with it."""
        return self.uses_left != 0 and (self.expires_at is None or not is_expired(now, self.expires_at))


_BY_DIGEST: Final = select(*columns_of(InitialAccessToken)).where(
    InitialAccessToken.token_digest == bindparam("digest")
)


def create_initial_access_token(
    work: UnitOfWork, label: str, *, uses: int | None, expires_in: int | None
) -> tuple[InitialAccessToken, str]:
    """Makes a token; the second value is what its holder presents, shown this once.

    Raises:
        Invalid: when the label cannot stand on a line.
    """
    if not label.strip() or len(label) > _MAXIMUM_LABEL or not label.isprintable():
        raise Invalid("label", f"The label has 1 to {_MAXIMUM_LABEL} printable characters.")
    token = secrets.new_secret(PREFIX)
    row = InitialAccessToken(
        id=secrets.new_id(),
        token_digest=secrets.digest(token),
        label=label.strip(),
        uses_left=uses,
        created_at=work.now,
        expires_at=None if expires_in is None else work.now + timedelta(seconds=expires_in),
    )
    work.db.add(row)
    work.db.flush()
    audit_log.record(work, AuditEvent.INITIAL_ACCESS_TOKEN_CREATED, token_id=row.id, label=row.label, uses=uses)
    return row, token


def find_initial_access_token(work: UnitOfWork, presented: str) -> InitialAccessToken | None:
    """The token, if a client may still be registered with it, or None."""
    rows = work.read(_BY_DIGEST, {"digest": secrets.digest(presented)})
    token = detached(InitialAccessToken, rows[0]) if rows else None
    return token if token is not None and token.is_good(work.now) else None


def consume_initial_access_token(work: UnitOfWork, token_id: str) -> bool:
    """Takes one use; False when others were faster, or the operator has revoked it."""
    is_left = or_(InitialAccessToken.uses_left.is_(None), InitialAccessToken.uses_left > 0)
    # Nothing less one is nothing still: a token for any number stays one.
    spend = update(InitialAccessToken).where(InitialAccessToken.id == token_id, is_left)
    return count_changed(work.db, spend.values(uses_left=InitialAccessToken.uses_left - 1)) == 1


def list_initial_access_tokens(work: UnitOfWork) -> Sequence[InitialAccessToken]:
    """All tokens, used up and expired ones too until they are swept, oldest first."""
    query = select(InitialAccessToken).order_by(InitialAccessToken.created_at, InitialAccessToken.id)
    return work.db.scalars(query).all()


def revoke_initial_access_token(work: UnitOfWork, token_id: str) -> InitialAccessToken:
    """Ends the token; clients that were registered with it stay.

    Raises:
        NotFound: when there is none of this id.
    """
    row = work.db.get(InitialAccessToken, token_id)
    if row is None:
        raise NotFound(f"There is no initial access token {token_id}.")
    work.db.delete(row)
    work.db.flush()
    audit_log.record(work, AuditEvent.INITIAL_ACCESS_TOKEN_REVOKED, token_id=token_id, label=row.label)
    return row
