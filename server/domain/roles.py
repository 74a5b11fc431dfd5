"""Roles of an organization's own: named sets of permissions beside the built-in ones."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.infra.database import Base

ID_PREFIX: Final = "rol_"


class CustomRole(Base):
    """One role that an organization made."""

    __tablename__ = "roles"
    __table_args__ = (UniqueConstraint("organization_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"))
    name: Mapped[str]
    description: Mapped[str]
    permissions: Mapped[list[str]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
