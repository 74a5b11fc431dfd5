"""Refresh tokens: opaque, stored as digests, each pointing to the grant that is its family (RFC 6749 §6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, ForeignKey, bindparam, case, insert, select
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.dml import Insert

from server.domain.consumption import Spent
from server.domain.grants import Grant
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from server.infra import secrets
from server.infra.database import Base, columns_of, detached_each, table_of

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
    #: What of the grant was asked for when this token was spent, None for all of it; a retry asks for the same.
    replay_scope: Mapped[str | None]


TOKENS: Final = table_of(RefreshToken)


@dataclass(frozen=True)
class KnownRefreshToken:
    """A refresh token's row, whatever its state, with the grant it belongs to and the person who gave that."""

    row: RefreshToken
    grant: Grant
    user: User


_BY_DIGEST: Final = (
    select(*columns_of(RefreshToken, Grant, User))
    .join_from(RefreshToken, Grant, Grant.id == RefreshToken.grant_id)
    .join(User, User.id == Grant.user_id)
    .where(RefreshToken.token_digest == bindparam("digest"))
)


def find_refresh_token(work: UnitOfWork, token: str) -> KnownRefreshToken | None:
    """What the database knows of a presented token now, for reading only, or None."""
    if not token.startswith(PREFIX):
        return None
    rows = work.read(_BY_DIGEST, {"digest": secrets.digest(token)})
    return KnownRefreshToken(*detached_each((RefreshToken, Grant, User), rows[0])) if rows else None


def idle_end() -> ColumnElement[Any]:
    """When a token used now ends, in SQL: as `policy.lifetimes.expires_at` says."""
    idle: ColumnElement[Any] = bindparam("idle_end", type_=TOKENS.c.expires_at.type)
    return case((Grant.expires_at < idle, Grant.expires_at), else_=idle)


def refresh_token_insert(spent: Spent, predecessor_id: ColumnElement[Any]) -> Insert:
    """The new token under the grant that `spent` names; the rest comes from `refresh_token_parameters`."""
    now = bindparam("now", type_=TOKENS.c.created_at.type)
    values: dict[str, ColumnElement[Any]] = {
        "id": bindparam("refresh_token_id", type_=TOKENS.c.id.type),
        "token_digest": bindparam("refresh_token_digest", type_=TOKENS.c.token_digest.type),
        "grant_id": spent.c.grant_id,
        "client_id": table_of(Grant).c.client_id,
        "predecessor_id": predecessor_id,
        "created_at": now,
        "last_used_at": now,
        "expires_at": idle_end(),
    }
    columns = (value.label(name) for name, value in values.items())
    source = select(*columns).select_from(spent).join(Grant, Grant.id == spent.c.grant_id)
    return insert(TOKENS).from_select(list(values), source)


def refresh_token_parameters(work: UnitOfWork, now: datetime, token: str) -> dict[str, Any]:
    """The parameters of `refresh_token_insert` for `token`, which is not stored itself."""
    return {
        "now": now,
        "idle_end": now + timedelta(seconds=work.settings.refresh_token_idle_lifetime),
        "refresh_token_id": secrets.new_id(),
        "refresh_token_digest": secrets.digest(token),
    }
