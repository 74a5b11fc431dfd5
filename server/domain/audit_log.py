"""The audit log: every security-relevant act as a row, written in the transaction of the act itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Integer, insert, select
from sqlalchemy.orm import Mapped, mapped_column

from server.domain.audit_events import AuditEvent
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import Base


class AuditRecord(Base):
    """Who did what to whom, when and from where. Ids and names only; never a secret."""

    __tablename__ = "audit_events"

    # SQLite numbers rows by itself only in a column that is an INTEGER; its integers have 64 bits anyway.
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
    )
    at: Mapped[datetime] = mapped_column(index=True)
    event: Mapped[str]
    actor_kind: Mapped[str]
    actor_id: Mapped[str | None]
    user_id: Mapped[str | None] = mapped_column(index=True)
    client_id: Mapped[str | None] = mapped_column(index=True)
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    request_id: Mapped[str | None]
    details: Mapped[dict[str, Any]]


def record(
    work: UnitOfWork,
    event: AuditEvent,
    *,
    user_id: str | None = None,
    client_id: str | None = None,
    **details: str | int | bool | list[str] | None,
) -> None:
    """Writes one audit row; it stands or falls with the transaction it belongs to."""
    work.db.execute(
        insert(AuditRecord).values(
            at=work.now,
            event=event.value,
            actor_kind=work.actor.kind,
            actor_id=work.actor.id,
            user_id=user_id,
            client_id=client_id,
            ip=work.actor.ip,
            user_agent=work.actor.user_agent,
            request_id=work.actor.request_id,
            details=details,
        )
    )


def list_recent(work: UnitOfWork, event: AuditEvent | None = None, limit: int = 50) -> Sequence[AuditRecord]:
    """The newest rows first, of one kind or of all."""
    query = select(AuditRecord).order_by(AuditRecord.id.desc()).limit(limit)
    if event is not None:
        query = query.where(AuditRecord.event == event.value)
    return work.db.scalars(query).all()
