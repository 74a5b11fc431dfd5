"""The outbox: what has to be told to others, written in the transaction of what it tells of, sent afterwards.

A message is there exactly when its cause was committed, and stays until its receiver has it, refuses it for good, or
too much time has passed. Whoever sends it takes a lease first, by a conditional update: of several processes one sends
it, and when that one dies the lease ends and another does. So a message may arrive twice, with the same id; none is
lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Integer,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from server.domain.unit_of_work import UnitOfWork
from server.infra.database import Base, count_changed, table_of

#: How long a receiver may be away without missing anything.
LIFETIME: Final = timedelta(days=1)
#: How long a sender may take beyond twice what an attempt may last; then it counts as dead.
_GRACE: Final = timedelta(seconds=5)
#: The pause after the first failure; each further one doubles it.
_FIRST_PAUSE: Final = timedelta(seconds=1)
_LONGEST_PAUSE: Final = timedelta(minutes=15)
#: Among how many messages, the longest due, the next ones are looked for.
_WINDOW: Final = 1000


class OutboxMessage(Base):
    """One message to one client."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
    )
    topic: Mapped[str]
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"), index=True)
    payload: Mapped[dict[str, Any]]
    #: How often somebody began to send it.
    attempts: Mapped[int]
    created_at: Mapped[datetime]
    #: While it is being sent: when the sender's lease ends.
    next_attempt_at: Mapped[datetime] = mapped_column(index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True)
class Leased:
    """A message that this process alone may send, until its lease ends."""

    id: int
    topic: str
    client_id: str
    payload: dict[str, Any]
    #: This attempt included.
    attempts: int
    expires_at: datetime


_INSERT: Final = insert(table_of(OutboxMessage)).inline()
_IS_DUE: Final = select(
    exists().where(OutboxMessage.next_attempt_at <= bindparam("now"), OutboxMessage.expires_at > bindparam("now"))
)


def put(work: UnitOfWork, topic: str, messages: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Queues messages, each a client id and a payload; they go out when this transaction is committed."""
    common = {
        "topic": topic,
        "attempts": 0,
        "created_at": work.now,
        "next_attempt_at": work.now,
        "expires_at": work.now + LIFETIME,
    }
    rows = [{"client_id": client_id, "payload": dict(payload), **common} for client_id, payload in messages]
    if rows:
        work.db.execute(_INSERT, rows)


def is_due(work: UnitOfWork) -> bool:
    """Whether any message may be sent now."""
    return bool(work.db.scalar(_IS_DUE, {"now": work.now}))


def lease_due(
    work: UnitOfWork, topic: str, limit: int, each: int, once: Collection[str] = (), besides: Collection[str] = ()
) -> list[Leased]:
    """Takes messages to send, the longest due first. Of processes that ask at once each gets other ones.

    Args:
        work: a transaction that is committed before anything is sent.
        topic: what kind of messages.
        limit: the most messages.
        each: the most messages for any one client.
        once: clients that get one at most: those that did not answer last time.
        besides: clients that get none.
    """
    now = work.now
    is_due = (OutboxMessage.next_attempt_at <= now, OutboxMessage.expires_at > now, OutboxMessage.topic == topic)
    oldest = (
        select(OutboxMessage.id, OutboxMessage.client_id, OutboxMessage.next_attempt_at)
        .where(*is_due, OutboxMessage.client_id.not_in(besides))
        .order_by(OutboxMessage.next_attempt_at, OutboxMessage.id)
        .limit(_WINDOW)
        .subquery()
    )
    order = (oldest.c.next_attempt_at, oldest.c.id)
    place = func.row_number().over(partition_by=oldest.c.client_id, order_by=order).label("place")
    placed = select(oldest, place).subquery()
    is_its_turn = or_(placed.c.place == 1, and_(placed.c.place <= each, placed.c.client_id.not_in(once)))
    chosen = select(placed.c.id).where(is_its_turn).order_by(placed.c.next_attempt_at, placed.c.id).limit(limit)
    found = work.db.scalars(chosen).all()
    # Locked in a statement of its own: PostgreSQL locks no rows that a window function numbers.
    locking = select(OutboxMessage.id).where(OutboxMessage.id.in_(found), *is_due).with_for_update(skip_locked=True)
    return _take(work, work.db.scalars(locking).all()) if found else []


def _take(work: UnitOfWork, ids: Sequence[int]) -> list[Leased]:
    lease = timedelta(seconds=2 * work.settings.outbound_timeout) + _GRACE
    # The condition once more: what another process took meanwhile is not taken again.
    taking = (
        update(OutboxMessage)
        .where(OutboxMessage.id.in_(ids), OutboxMessage.next_attempt_at <= work.now)
        .values(next_attempt_at=work.now + lease, attempts=OutboxMessage.attempts + 1)
        .returning(
            OutboxMessage.id,
            OutboxMessage.topic,
            OutboxMessage.client_id,
            OutboxMessage.payload,
            OutboxMessage.attempts,
            OutboxMessage.expires_at,
        )
    )
    rows = work.db.execute(taking, execution_options={"synchronize_session": False}).all()
    return sorted((Leased(*row) for row in rows), key=lambda message: message.id)


def remove(work: UnitOfWork, message: Leased) -> None:
    """Forgets a message that has arrived, or never will."""
    count_changed(work.db, delete(OutboxMessage).where(OutboxMessage.id == message.id))


def put_off(work: UnitOfWork, message: Leased) -> bool:
    """Leaves the message for later; False when its time will be over before."""
    again = work.now + pause_after(message.attempts, message.id)
    # Unless its lease has ended meanwhile, and another attempt began.
    mine = update(OutboxMessage).where(OutboxMessage.id == message.id, OutboxMessage.attempts == message.attempts)
    count_changed(work.db, mine.values(next_attempt_at=again))
    return again < message.expires_at


def pause_after(attempts: int, number: int = 0) -> timedelta:
    """How long to wait after so many attempts: twice as long each time, up to a limit.

    And up to half as long again, by the message's number: what failed together does not come back together.
    """
    # Beyond ten doublings the limit is long reached; a larger power would overflow some day.
    pause = min(_FIRST_PAUSE * (1 << min(attempts - 1, 10)), _LONGEST_PAUSE)
    return pause * (1 + number % 16 / 32)
