"""Mail that waits to be sent: written in the transaction of what it tells of, encrypted, since it may hold a link."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Integer
from sqlalchemy.orm import Mapped, mapped_column

from server.infra.database import Base


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
