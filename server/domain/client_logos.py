"""Logos that developers uploaded for their clients, drawn anew by us."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from server.infra.database import Base


class ClientLogo(Base):
    """One client's logo as PNG."""

    __tablename__ = "client_logos"

    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"), primary_key=True)
    image: Mapped[bytes] = mapped_column(LargeBinary)
    updated_at: Mapped[datetime]
