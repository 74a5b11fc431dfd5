"""The chain that shows whether audit rows were altered, removed or put in between.

Rows are written unsealed, so that no writer waits for another. A sealer follows: it gives each row a number without
gaps and a digest over the digest before and the row, keyed under the keyring, so that whoever has the database alone
cannot seal anew after altering. What happened to a row before it was sealed, and rows cut off at the end, the chain
alone does not show; the end is compared with a checkpoint that was exported earlier.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, Row, Select, Table, bindparam, exists, func, insert, select, text
from sqlalchemy.orm import Mapped, mapped_column

from server.domain.audit_records import AuditRecord
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import Base
from server.infra.keyring import KeyringError

#: Rows of one transaction. On SQLite, other writers wait meanwhile.
_BATCH: Final = {"sqlite": 100, "postgresql": 2000}
#: On PostgreSQL a row may become visible after rows with higher numbers; the sealer looks this far back. No transaction
#: of ours stays open while so many other rows are written. SQLite's writers come one after the other.
_LATE_ROWS: Final = {"sqlite": 0, "postgresql": 50_000}
_CONTEXT: Final = "audit-chain"
#: Any number all replicas agree on: one of them seals at a time.
_ADVISORY_LOCK: Final = 7_283_115_901
_READ_AT_ONCE: Final = 2000
_SPAN: Final = 100_000
_SIGNED: Final = (
    "id",
    "at",
    "event",
    "actor_kind",
    "actor_id",
    "user_id",
    "client_id",
    "ip",
    "user_agent",
    "request_id",
    "details",
)
_START: Final = ""
_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_BigNumber = BigInteger().with_variant(Integer(), "sqlite")

#: Called now and then with the number of the row that was reached.
Progress = Callable[[int], None]


class AuditSeal(Base):
    """The place of one audit row in the chain."""

    __tablename__ = "audit_seals"

    sequence: Mapped[int] = mapped_column(_BigNumber, primary_key=True, autoincrement=False)
    audit_id: Mapped[int] = mapped_column(_BigNumber, unique=True)
    key_name: Mapped[str]
    digest: Mapped[str]


_SEALS = AuditSeal.__table__
_EVENTS = AuditRecord.__table__
assert isinstance(_SEALS, Table)  # narrows the type: a mapped class may stand for a join
assert isinstance(_EVENTS, Table)
_INSERT: Final = insert(_SEALS).inline()
# One statement for any number of seals.
_INSERT_MANY_ON_POSTGRESQL: Final = text(
    "INSERT INTO audit_seals (sequence, audit_id, key_name, digest)"
    " SELECT sequence, audit_id, :key_name, digest FROM"
    " unnest(CAST(:sequences AS bigint[]), CAST(:audit_ids AS bigint[]), CAST(:digests AS text[]))"
    " AS sealed (sequence, audit_id, digest)"
)
_NEWEST_SEALED: Final = select(func.max(_SEALS.c.audit_id))
_HEAD: Final = select(_SEALS.c.sequence, _SEALS.c.digest).order_by(_SEALS.c.sequence.desc()).limit(1)


def _next_batch() -> Select[Any]:
    """The first `size` unsealed rows after `horizon`; read from a `span` of bounded size, however many rows wait."""
    ids = select(_EVENTS.c.id).where(_EVENTS.c.id > bindparam("horizon")).order_by(_EVENTS.c.id)
    span = ids.limit(bindparam("span")).subquery()
    return (
        select(*(_EVENTS.c[name] for name in _SIGNED))
        .join(span, span.c.id == _EVENTS.c.id)
        .where(~exists().where(_SEALS.c.audit_id == span.c.id))
        .order_by(_EVENTS.c.id)
        .limit(bindparam("size"))
    )


_UNSEALED: Final = _next_batch()


@dataclass(frozen=True)
class Checkpoint:
    """The end of the chain at some moment: with it, a later cut is found."""

    sequence: int
    digest: str


@dataclass(frozen=True)
class Fault:
    """Where the chain is broken, in words."""

    sequence: int | None
    message: str


def seal(work: UnitOfWork, *, wait: bool = False) -> int:
    """Seals a batch of rows; returns how many. Call it again, in another transaction, while `may_be_more` says so.

    When somebody else is sealing, there is nothing to do; with `wait`, their turn is waited for.
    """
    if not _take_turn(work, wait):
        return 0
    head = find_head(work) or Checkpoint(0, _START)
    key_name = work.runtime.keyring.active
    key = work.runtime.keyring.derive_key(_CONTEXT, key_name)
    seals = []
    sequence, digest = head.sequence, head.digest
    size = _BATCH[_dialect(work)]
    bounds = {"horizon": _horizon(work), "span": _LATE_ROWS[_dialect(work)] + size, "size": size}
    for row in work.db.execute(_UNSEALED, bounds):
        sequence, digest = sequence + 1, _digest(key, sequence + 1, digest, row)
        seals.append((sequence, row.id, digest))
    if seals:
        _insert(work, key_name, seals)
    return len(seals)


def may_be_more(work: UnitOfWork, sealed: int) -> bool:
    """Whether the batch was a full one. Who asks for an empty one instead has no end while others write."""
    return sealed >= _BATCH[_dialect(work)]


def find_head(work: UnitOfWork) -> Checkpoint | None:
    """The newest seal, or None when nothing is sealed."""
    row = work.db.execute(_HEAD).first()
    return Checkpoint(row.sequence, row.digest) if row else None


def find_fault(
    work: UnitOfWork, checkpoint: Checkpoint | None = None, progress: Progress | None = None
) -> Fault | None:
    """The first place at which the chain does not hold, or None; with a checkpoint, also a cut after it."""
    fault = _first_broken_seal(work, progress) or _first_stray_row(work)
    if fault is None and checkpoint is not None:
        fault = _difference_from(work, checkpoint)
    return fault


def sealed_rows(
    work: UnitOfWork, since: datetime | None = None, until: datetime | None = None
) -> Iterator[Row[tuple[Any, ...]]]:
    """Every sealed row with its place in the chain, in its order, of a span of time or of all."""
    query = select(_SEALS.c.sequence, _SEALS.c.digest, *(_EVENTS.c[name] for name in _SIGNED)).join(
        _EVENTS, _EVENTS.c.id == _SEALS.c.audit_id
    )
    if since is not None:
        query = query.where(_EVENTS.c.at >= since)
    if until is not None:
        query = query.where(_EVENTS.c.at < until)
    return _in_pages(work, query)


def _take_turn(work: UnitOfWork, wait: bool) -> bool:
    """Whether this transaction may seal; on SQLite its write lock has taken the turn already."""
    if _dialect(work) == "sqlite":
        return True
    function = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
    return work.db.execute(text(f"SELECT {function}(:key)"), {"key": _ADVISORY_LOCK}).scalar() is not False


def _insert(work: UnitOfWork, key_name: str, seals: Sequence[tuple[int, int, str]]) -> None:
    if _dialect(work) == "postgresql":
        sequences, audit_ids, digests = (list(values) for values in zip(*seals, strict=True))
        values = {"key_name": key_name, "sequences": sequences, "audit_ids": audit_ids, "digests": digests}
        work.db.execute(_INSERT_MANY_ON_POSTGRESQL, values)
        return
    rows = [
        {"sequence": sequence, "audit_id": audit_id, "key_name": key_name, "digest": digest}
        for sequence, audit_id, digest in seals
    ]
    work.db.execute(_INSERT, rows)


def _dialect(work: UnitOfWork) -> str:
    return work.db.get_bind().dialect.name


def _horizon(work: UnitOfWork) -> int:
    """Every row up to this number is sealed, or was put in by somebody else."""
    newest = work.db.execute(_NEWEST_SEALED).scalar() or 0
    return int(newest) - _LATE_ROWS[_dialect(work)]


def _digest(key: bytes, sequence: int, previous: str, signed: Sequence[Any]) -> str:
    """The digest over one row's values, those of `_SIGNED` in their order, and over the digest before."""
    values = dict(zip(_SIGNED, signed, strict=True))
    values["at"] = values["at"].astimezone(UTC).isoformat(timespec="microseconds")
    document = _ENCODER.encode([sequence, previous, values])
    return hmac.digest(key, document.encode(), "sha256").hex()


def _first_broken_seal(work: UnitOfWork, progress: Progress | None) -> Fault | None:
    keys: dict[str, bytes] = {}
    previous = _START
    for sequence, row in enumerate(_in_pages(work, _seals_with_their_rows()), start=1):
        if row.sequence != sequence:
            return Fault(sequence, "it was removed from the chain")
        if row.id is None:
            return Fault(sequence, "its row was removed")
        try:
            if row.key_name not in keys:
                keys[row.key_name] = work.runtime.keyring.derive_key(_CONTEXT, row.key_name)
        except KeyringError:
            return Fault(sequence, "it is sealed under a key that is not in this keyring")
        if not hmac.compare_digest(_digest(keys[row.key_name], sequence, previous, row[-len(_SIGNED) :]), row.digest):
            return Fault(sequence, "its row was altered, or is not the one that was sealed there")
        previous = row.digest
        if progress is not None:
            progress(sequence)
    return None


def _seals_with_their_rows() -> Select[Any]:
    return select(
        _SEALS.c.sequence, _SEALS.c.key_name, _SEALS.c.digest, *(_EVENTS.c[name] for name in _SIGNED)
    ).outerjoin(_EVENTS, _EVENTS.c.id == _SEALS.c.audit_id)


def _first_stray_row(work: UnitOfWork) -> Fault | None:
    """A row that is older than what the sealer looks back for: it was put in later."""
    horizon = _horizon(work)
    reached = work.db.execute(select(func.min(_EVENTS.c.id))).scalar()
    while reached is not None and reached <= horizon:
        # A span at a time, so that no statement takes long however many rows there are.
        ids = select(_EVENTS.c.id).where(_EVENTS.c.id >= reached, _EVENTS.c.id <= horizon).order_by(_EVENTS.c.id)
        span = ids.limit(_SPAN).subquery()
        stray = work.db.execute(
            select(func.min(span.c.id)).where(~exists().where(_SEALS.c.audit_id == span.c.id))
        ).scalar()
        if stray is not None:
            return Fault(None, f"row {stray} was put in after its neighbours were sealed")
        reached = work.db.execute(select(func.max(span.c.id) + 1)).scalar()
    return None


def _difference_from(work: UnitOfWork, checkpoint: Checkpoint) -> Fault | None:
    query = select(_SEALS.c.digest).where(_SEALS.c.sequence == checkpoint.sequence)
    digest = work.db.execute(query).scalar()
    if digest is None:
        return Fault(checkpoint.sequence, "the checkpoint has it, the database has not: the end was cut off")
    if not hmac.compare_digest(digest, checkpoint.digest):
        return Fault(checkpoint.sequence, "the checkpoint has another: the end was cut off and written anew")
    return None


def _in_pages(work: UnitOfWork, query: Select[Any]) -> Iterator[Row[Any]]:
    """The rows in the order of the chain, some thousand in memory at a time."""
    sequence = 0
    while True:
        page = query.where(_SEALS.c.sequence > sequence).order_by(_SEALS.c.sequence).limit(_READ_AT_ONCE)
        rows = work.db.execute(page).all()
        yield from rows
        if len(rows) < _READ_AT_ONCE:
            return
        sequence = rows[-1].sequence
