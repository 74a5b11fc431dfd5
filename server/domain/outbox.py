"""The outbox: what has to be told to others, written in the transaction of what it tells of, sent afterwards.

A message is there exactly when its cause was committed, and stays until its receiver has it, refuses it for good, or too
much time has passed. Whoever sends it takes a lease first, by a conditional update: of several processes one sends it,
and when that one dies the lease ends and another does. So a message may arrive twice, with the same id; none is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, Integer, bindparam, delete, exists, insert, select, update
from sqlalchemy.orm import Mapped, mapped_column

from server.domain.unit_of_work import UnitOfWork
from server.infra.database import Base, count_changed, table_of

#: How long a sender may take; then it counts as dead. Longer than any attempt lasts.
LEASE: Final = timedelta(seconds=15)
#: How long a receiver may be away without missing anything.
LIFETIME: Final = timedelta(days=1)
#: The pause after the first failure; each further one doubles it.
_FIRST_PAUSE: Final = timedelta(seconds=1)
_LONGEST_PAUSE: Final = timedelta(minutes=15)


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


def lease_due(work: UnitOfWork, limit: int, besides: Collection[str] = ()) -> list[Leased]:
    """Takes at most `limit` messages to send, the longest due first, none of them for the clients `besides`.

    Of processes that ask at once each gets other messages.
    """
    query = select(OutboxMessage.id, OutboxMessage.client_id).where(
        OutboxMessage.next_attempt_at <= work.now, OutboxMessage.expires_at > work.now
    )
    if besides:
        query = query.where(OutboxMessage.client_id.not_in(besides))
    found = work.db.scalars(
        query.order_by(OutboxMessage.next_attempt_at, OutboxMessage.id).limit(limit).with_for_update(skip_locked=True)
    ).all()
    return _take(work, found) if found else []


def _take(work: UnitOfWork, ids: Sequence[int]) -> list[Leased]:
    # The condition once more: what another process took meanwhile is not taken again.
    taking = (
        update(OutboxMessage)
        .where(OutboxMessage.id.in_(ids), OutboxMessage.next_attempt_at <= work.now)
        .values(next_attempt_at=work.now + LEASE, attempts=OutboxMessage.attempts + 1)
        .returning(
            OutboxMessage.id,
            OutboxMessage.topic,
            OutboxMessage.client_id,
            OutboxMessage.payload,
            OutboxMessage.attempts,
        )
    )
    rows = work.db.execute(taking, execution_options={"synchronize_session": False}).all()
    return sorted((Leased(*row) for row in rows), key=lambda message: message.id)


def remove(work: UnitOfWork, messages: Sequence[Leased]) -> None:
    """Forgets messages that have arrived, or never will."""
    if messages:
        count_changed(work.db, delete(OutboxMessage).where(OutboxMessage.id.in_([each.id for each in messages])))


def put_off(work: UnitOfWork, message: Leased) -> None:
    """Leaves the message for later, unless its lease has ended and another attempt began."""
    mine = update(OutboxMessage).where(OutboxMessage.id == message.id, OutboxMessage.attempts == message.attempts)
    count_changed(work.db, mine.values(next_attempt_at=work.now + pause_after(message.attempts)))


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts: twice as long each time, up to a limit."""
    # Beyond ten doublings the limit is long reached; a larger power would overflow some day.
    return min(_FIRST_PAUSE * 2 ** min(attempts - 1, 10), _LONGEST_PAUSE)


def list_expired(work: UnitOfWork, limit: int) -> list[Leased]:
    """Messages whose time is over, for whoever reports them before they go."""
    query = select(
        OutboxMessage.id, OutboxMessage.topic, OutboxMessage.client_id, OutboxMessage.payload, OutboxMessage.attempts
    ).where(OutboxMessage.expires_at <= work.now)
    return [Leased(*row) for row in work.db.execute(query.limit(limit).with_for_update(skip_locked=True))]
