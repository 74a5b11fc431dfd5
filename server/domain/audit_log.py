"""The audit log: every security-relevant act as a row, written in the transaction of the act itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from sqlalchemy import select

from server.domain.audit_events import AuditEvent
from server.domain.audit_records import AuditRecord, AuditValues, insert_record
from server.domain.unit_of_work import UnitOfWork

Detail: TypeAlias = str | int | bool | list[str] | None


def record(
    work: UnitOfWork,
    event: AuditEvent,
    *,
    user_id: str | None = None,
    client_id: str | None = None,
    **details: Detail,
) -> None:
    """Writes one audit row; it stands or falls with the transaction it belongs to.

    Among the details `organization_id` and `environment` say where it belongs.
    """
    work.runtime.metrics.tell(event.value)
    insert_record(work.db, row_of(work, event, user_id=user_id, client_id=client_id, **details))


def record_soon(
    work: UnitOfWork,
    event: AuditEvent,
    *,
    user_id: str | None = None,
    client_id: str | None = None,
    **details: Detail,
) -> None:
    """Writes one audit row within milliseconds, beside the transaction; for acts that change nothing in the database.

    Where no process waits for rows, or too many wait, it is written as by `record`: the caller commits.
    """
    work.runtime.metrics.tell(event.value)
    row = row_of(work, event, user_id=user_id, client_id=client_id, **details)
    if not work.runtime.audit_queue.offer(row):
        insert_record(work.db, row)


def row_of(
    work: UnitOfWork,
    event: AuditEvent,
    *,
    user_id: str | None = None,
    client_id: str | None = None,
    **details: Detail,
) -> AuditValues:
    """The row that `record` writes, for a statement that writes it together with the act, and then `tell`s of it."""
    actor = work.actor
    return {
        "at": work.now,
        "event": event.value,
        "actor_kind": actor.kind,
        "actor_id": actor.id,
        "user_id": user_id,
        "client_id": client_id,
        "ip": actor.ip,
        "user_agent": actor.user_agent,
        "request_id": actor.request_id,
        "organization_id": details.get("organization_id"),
        "environment": details.get("environment"),
        "details": details,
    }


def list_recent(work: UnitOfWork, event: AuditEvent | None = None, limit: int = 50) -> Sequence[AuditRecord]:
    """The newest rows first, of one kind or of all."""
    query = select(AuditRecord).order_by(AuditRecord.id.desc()).limit(limit)
    if event is not None:
        query = query.where(AuditRecord.event == event.value)
    return work.db.scalars(query).all()
