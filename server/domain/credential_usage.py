"""How often, when and from where API keys and clients were used."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from server.infra.database import Base


class CredentialUsage(Base):
    """One credential on one day."""

    __tablename__ = "credential_usage"

    #: `api_key` or `client`.
    kind: Mapped[str] = mapped_column(primary_key=True)
    credential_id: Mapped[str] = mapped_column(primary_key=True)
    #: In UTC, as `2026-11-22`.
    day: Mapped[str] = mapped_column(primary_key=True)
    uses: Mapped[int]
    failures: Mapped[int]
    last_used_at: Mapped[datetime | None]
    last_used_ip: Mapped[str | None]
    last_used_user_agent: Mapped[str | None]
    last_failure_at: Mapped[datetime | None]
    last_failure_reason: Mapped[str | None]
    #: When a process last wrote the row: the others wait a minute.
    written_at: Mapped[datetime]
    #: When a burst of failures was last told of.
    alerted_at: Mapped[datetime | None]


class CredentialNetwork(Base):
    """A network that a credential has been used from."""

    __tablename__ = "credential_networks"

    kind: Mapped[str] = mapped_column(primary_key=True)
    credential_id: Mapped[str] = mapped_column(primary_key=True)
    network: Mapped[str] = mapped_column(primary_key=True)
    first_seen_at: Mapped[datetime]
