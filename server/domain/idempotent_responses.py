"""Answers kept for a while, so that a request sent twice under one `Idempotency-Key` acts once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from server.infra.database import Base


class IdempotentResponse(Base):
    """The answer to one request; without a status while it is being worked on."""

    __tablename__ = "idempotent_responses"

    #: A digest of who asked, where and under which key.
    id: Mapped[str] = mapped_column(primary_key=True)
    request_digest: Mapped[str]
    status: Mapped[int | None]
    body_encrypted: Mapped[str | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
