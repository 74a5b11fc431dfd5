"""Organizations: what clients, API keys and members belong to."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import false
from sqlalchemy.orm import Mapped, mapped_column

from server.infra.database import Base

ID_PREFIX: Final = "org_"


class Organization(Base):
    """A company or team."""

    __tablename__ = "organizations"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    #: Its name in URLs.
    slug: Mapped[str] = mapped_column(unique=True)
    is_demo: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    suspended_at: Mapped[datetime | None]
