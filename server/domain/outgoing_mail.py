"""Mail that waits to be sent: written in the transaction of what it tells of, encrypted, since it may hold a link.

As in the outbox, a mail is there exactly when its cause was committed. Whoever sends it takes a lease first, so that of
several processes one does; it may arrive twice, with the same Message-ID, and is given up after two days.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import BigInteger, Integer, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.orm import Mapped, mapped_column

from server.domain.outbox import pause_after
from server.domain.unit_of_work import UnitOfWork
from server.infra import mail
from server.infra.database import Base, count_changed, table_of
from server.infra.keyring import KeyringError

LIFETIME: Final = timedelta(days=2)
#: Longer than any conversation with a mail server may take; then its sender counts as dead.
_LEASE: Final = timedelta(minutes=5)


class OutgoingMail(Base):
    """One mail to one address."""

    __tablename__ = "outgoing_mail"

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
    )
    recipient: Mapped[str]
    message_encrypted: Mapped[str]
    #: How often somebody began to send it.
    attempts: Mapped[int]
    created_at: Mapped[datetime]
    #: While it is being sent: when the sender's lease ends.
    next_attempt_at: Mapped[datetime] = mapped_column(index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True)
class Message:
    """What a mail says. Without HTML the sender makes it of the text."""

    subject: str
    text: str
    html: str | None


@dataclass(frozen=True)
class LeasedMail:
    """A mail that this process alone may send, until its lease ends."""

    id: int
    recipient: str
    #: None when it does not open with this keyring.
    message: Message | None
    #: This attempt included.
    attempts: int
    expires_at: datetime


_INSERT: Final = insert(table_of(OutgoingMail)).inline()
_IS_DUE: Final = select(
    exists().where(OutgoingMail.next_attempt_at <= bindparam("now"), OutgoingMail.expires_at > bindparam("now"))
)


def send_later(work: UnitOfWork, recipient: str, subject: str, text: str, html: str | None = None) -> bool:
    """Queues a mail, which goes out when this transaction is committed; False where no mail server is configured."""
    if not mail.is_configured(work.settings):
        return False
    # A subject is one line, whatever names stand in it.
    message = Message(" ".join(subject.split()), text, html)
    sealed = work.runtime.keyring.encrypt(json.dumps(asdict(message)).encode(), _context(recipient))
    work.db.execute(
        _INSERT,
        {
            "recipient": recipient,
            "message_encrypted": sealed,
            "attempts": 0,
            "created_at": work.now,
            "next_attempt_at": work.now,
            "expires_at": work.now + LIFETIME,
        },
    )
    return True


def is_due(work: UnitOfWork) -> bool:
    """Whether any mail may be sent now."""
    return bool(work.db.scalar(_IS_DUE, {"now": work.now}))


def lease_next(work: UnitOfWork) -> LeasedMail | None:
    """Takes the mail that is longest due, in a transaction that is committed before it is sent; None when none is."""
    due = (
        select(OutgoingMail.id)
        .where(OutgoingMail.next_attempt_at <= work.now, OutgoingMail.expires_at > work.now)
        .order_by(OutgoingMail.next_attempt_at, OutgoingMail.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    mail_id = work.db.scalars(due).one_or_none()
    if mail_id is None:
        return None
    taking = (
        update(OutgoingMail)
        .where(OutgoingMail.id == mail_id)
        .values(next_attempt_at=work.now + _LEASE, attempts=OutgoingMail.attempts + 1)
        .returning(
            OutgoingMail.id,
            OutgoingMail.recipient,
            OutgoingMail.message_encrypted,
            OutgoingMail.attempts,
            OutgoingMail.expires_at,
        )
    )
    row = work.db.execute(taking, execution_options={"synchronize_session": False}).one()
    message = _open(work, row.recipient, row.message_encrypted)
    return LeasedMail(row.id, row.recipient, message, row.attempts, row.expires_at)


def remove(work: UnitOfWork, leased: LeasedMail) -> bool:
    """Forgets a mail that has arrived, or never will; False when that was done already."""
    return count_changed(work.db, delete(OutgoingMail).where(OutgoingMail.id == leased.id)) == 1


def put_off(work: UnitOfWork, leased: LeasedMail) -> bool:
    """Leaves the mail for later; False when its time will be over before."""
    again = work.now + pause_after(leased.attempts, leased.id)
    # Unless its lease has ended meanwhile, and another attempt began.
    mine = update(OutgoingMail).where(OutgoingMail.id == leased.id, OutgoingMail.attempts == leased.attempts)
    count_changed(work.db, mine.values(next_attempt_at=again))
    return again < leased.expires_at


def forget_mail_to(work: UnitOfWork, address: str) -> int:
    """Drops what still waits for this address; returns how many mails that were."""
    return count_changed(work.db, delete(OutgoingMail).where(func.lower(OutgoingMail.recipient) == address.lower()))


def _open(work: UnitOfWork, recipient: str, sealed: str) -> Message | None:
    try:
        return Message(**json.loads(work.runtime.keyring.decrypt(sealed, _context(recipient))))
    except KeyringError:
        return None


def _context(recipient: str) -> str:
    return f"outgoing_mail.message_encrypted:{recipient}"
