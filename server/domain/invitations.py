"""Invitations into an organization, by a link that is good once."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from server.infra.database import Base

ID_PREFIX: Final = "inv_"


class Invitation(Base):
    """One person asked to join, by their address."""

    __tablename__ = "invitations"

    id: Mapped[str] = mapped_column(primary_key=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"), index=True)
    email: Mapped[str]
    email_key: Mapped[str]
    role: Mapped[str]
    token_digest: Mapped[str] = mapped_column(unique=True)
    invited_by: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    accepted_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
