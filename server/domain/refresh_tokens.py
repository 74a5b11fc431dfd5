"""Refresh tokens: opaque, stored as digests, each pointing to the grant that is its family (RFC 6749 §6)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import Mapped, mapped_column

from server.domain.grants import Grant
from server.domain.policy.lifetimes import expires_at
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base

PREFIX: Final = "rt_"


class RefreshToken(Base):
    """One refresh token; spent rows stay, so that a second use is recognised."""

    __tablename__ = "refresh_tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    token_digest: Mapped[str] = mapped_column(unique=True)
    grant_id: Mapped[str] = mapped_column(ForeignKey("grants.id", ondelete="CASCADE"), index=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"))
    #: The token this one replaced.
    predecessor_id: Mapped[str | None]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    consumed_at: Mapped[datetime | None]
    #: The answer that spent this token, sealed under a key derived from the token itself, for a retry.
    replay: Mapped[str | None]
    #: The scope that answer was asked for; a retry asks for the same.
    replay_scope: Mapped[str | None]


def issue_refresh_token(work: UnitOfWork, grant: Grant, predecessor: RefreshToken | None = None) -> str:
    """Makes a refresh token under `grant` and returns it, this once."""
    token = secrets.new_secret(PREFIX)
    work.db.add(
        RefreshToken(
            id=secrets.new_id(),
            token_digest=secrets.digest(token),
            grant_id=grant.id,
            client_id=grant.client_id,
            predecessor_id=predecessor.id if predecessor else None,
            created_at=work.now,
            last_used_at=work.now,
            expires_at=expires_at(work.now, work.settings.refresh_token_idle_lifetime, grant.expires_at),
            consumed_at=None,
            replay=None,
            replay_scope=None,
        )
    )
    work.db.flush()
    return token


def find_refresh_token(work: UnitOfWork, token: str) -> RefreshToken | None:
    """The row of a presented token as the database has it now, whatever its state, or None."""
    if not token.startswith(PREFIX):
        return None
    query = select(RefreshToken).where(RefreshToken.token_digest == secrets.digest(token))
    return work.db.scalars(query.execution_options(populate_existing=True)).one_or_none()


def touch_refresh_token(work: UnitOfWork, row: RefreshToken, grant: Grant) -> None:
    """Notes the use of a token that does not rotate, extending its idle limit."""
    row.last_used_at = work.now
    row.expires_at = expires_at(work.now, work.settings.refresh_token_idle_lifetime, grant.expires_at)
