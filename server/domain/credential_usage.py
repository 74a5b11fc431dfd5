"""How often, when and from where API keys and clients were used: written once a minute, so that nobody waits for it.

What the processes have noted is added up here, for each credential and day in one row. Whichever process comes first
writes; the others find the row written within the last minute and keep what they have for later.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, case, delete, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Mapped, aliased, mapped_column

from server.domain.unit_of_work import UnitOfWork
from server.domain.usage_recorder import CredentialKind, Noted, Subject
from server.infra.database import Base, count_changed, table_of

#: How long nobody else writes what one process wrote.
PAUSE: Final = timedelta(minutes=1)
_BATCH: Final = 500


class CredentialUsage(Base):
    """One credential on one day."""

    __tablename__ = "credential_usage"

    #: `api_key` or `client`.
    kind: Mapped[str] = mapped_column(primary_key=True)
    credential_id: Mapped[str] = mapped_column(primary_key=True)
    #: In UTC, as `2026-11-22`.
    day: Mapped[str] = mapped_column(primary_key=True)
    uses: Mapped[int]
    failures: Mapped[int]
    last_used_at: Mapped[datetime | None]
    last_used_ip: Mapped[str | None]
    last_used_user_agent: Mapped[str | None]
    last_failure_at: Mapped[datetime | None]
    last_failure_reason: Mapped[str | None]
    #: When a process last wrote the row: the others wait a minute.
    written_at: Mapped[datetime]
    #: When a burst of failures was last told of.
    alerted_at: Mapped[datetime | None]


class CredentialNetwork(Base):
    """A network that a credential has been used from."""

    __tablename__ = "credential_networks"

    kind: Mapped[str] = mapped_column(primary_key=True)
    credential_id: Mapped[str] = mapped_column(primary_key=True)
    network: Mapped[str] = mapped_column(primary_key=True)
    first_seen_at: Mapped[datetime]


def usage_of(work: UnitOfWork, kind: CredentialKind, credential_id: str, days: int = 30) -> Sequence[CredentialUsage]:
    """The credential's rows of the last so many days, today among them, oldest first; days without use have none."""
    since = (work.now - timedelta(days=days - 1)).date().isoformat()
    query = select(CredentialUsage).where(
        CredentialUsage.kind == kind, CredentialUsage.credential_id == credential_id, CredentialUsage.day >= since
    )
    return work.db.scalars(query.order_by(CredentialUsage.day)).all()


def last_use_of(work: UnitOfWork, kind: CredentialKind, ids: Collection[str]) -> dict[str, CredentialUsage]:
    """By id, the row of the last day on which each was used; what was never used is not among them."""
    last = (
        select(CredentialUsage.credential_id, func.max(CredentialUsage.day).label("day"))
        .where(
            CredentialUsage.kind == kind,
            CredentialUsage.credential_id.in_(ids),
            CredentialUsage.last_used_at.is_not(None),
        )
        .group_by(CredentialUsage.credential_id)
        .subquery()
    )
    is_last = and_(CredentialUsage.credential_id == last.c.credential_id, CredentialUsage.day == last.c.day)
    rows = work.db.scalars(select(CredentialUsage).join(last, is_last).where(CredentialUsage.kind == kind))
    return {row.credential_id: row for row in rows}


def forget_usage(work: UnitOfWork, kind: CredentialKind, ids: Sequence[str]) -> int:
    """Removes all that is known of the use of credentials that are removed; returns how many rows that were."""
    forgotten = 0
    for begin in range(0, len(ids), _BATCH):
        batch = ids[begin : begin + _BATCH]
        for table in (CredentialUsage, CredentialNetwork):
            forgetting = delete(table).where(table.kind == kind, table.credential_id.in_(batch))
            forgotten += count_changed(work.db, forgetting)
    return forgotten


def _writing(insert: Any) -> Any:
    """Adds to the row, unless one of the same credential was written after `cutoff`; it may be another day's."""
    table, other = table_of(CredentialUsage), aliased(CredentialUsage)
    names = [column.name for column in table.columns if column.name != "alerted_at"]
    values = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
    cutoff = bindparam("cutoff", type_=table.c.written_at.type)
    is_written = exists().where(
        other.kind == values["kind"], other.credential_id == values["credential_id"], other.written_at > cutoff
    )
    source = select(*(value.label(name) for name, value in values.items())).where(~is_written)
    statement = insert(table).from_select(names, source)
    new = statement.excluded
    changes: dict[str, ColumnElement[Any]] = {
        "uses": table.c.uses + new.uses,
        "failures": table.c.failures + new.failures,
        "written_at": new.written_at,
    }
    for moment, names_beside in _LAST.items():
        is_later = and_(new[moment].is_not(None), or_(table.c[moment].is_(None), table.c[moment] <= new[moment]))
        changes |= {name: case((is_later, new[name]), else_=table.c[name]) for name in (moment, *names_beside)}
    keys = [table.c.kind, table.c.credential_id, table.c.day]
    # Asked once more: of two processes at once the second waits for the first, and then sees its row.
    updating = statement.on_conflict_do_update(index_elements=keys, set_=changes, where=table.c.written_at <= cutoff)
    return updating.returning(table.c.day)


#: Of what was last, the later stands.
_LAST: Final = {
    "last_used_at": ("last_used_ip", "last_used_user_agent"),
    "last_failure_at": ("last_failure_reason",),
}
_COUNTED: Final = ("uses", "failures", *_LAST, *(name for names in _LAST.values() for name in names))
_WRITE: Final = {"postgresql": _writing(postgresql_insert), "sqlite": _writing(sqlite_insert)}


def write(work: UnitOfWork, subject: Subject, noted: Noted, *, now_or_never: bool = False) -> bool:
    """Adds what was noted to its row; False when another process wrote within the last minute.

    Args:
        work: where it is written.
        subject: the credential and the day.
        noted: what happened since it was last written here.
        now_or_never: whether there is no later, since the process ends.
    """
    kind, credential_id, day = subject
    parameters = {
        "new_kind": kind,
        "new_credential_id": credential_id,
        "new_day": day,
        "new_written_at": work.now,
        "cutoff": work.now if now_or_never else work.now - PAUSE,
        **{f"new_{name}": getattr(noted, name) for name in _COUNTED},
    }
    return bool(work.db.execute(_WRITE[work.db.get_bind().dialect.name], parameters).all())
