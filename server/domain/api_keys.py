"""API keys: credentials of an organization, shown once, kept as keyed digests."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from server.infra.database import Base

ID_PREFIX: Final = "key_"


class ApiKey(Base):
    """One API key."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    #: The part of the key by which it is found; shown in lists.
    public_id: Mapped[str] = mapped_column(unique=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"), index=True)
    environment: Mapped[str]
    kind: Mapped[str]
    name: Mapped[str]
    description: Mapped[str]
    prefix: Mapped[str]
    #: The last four characters, by which a person tells keys apart.
    hint: Mapped[str]
    #: HMAC-SHA-256 of the whole key under the pepper.
    secret_mac: Mapped[str]
    #: The name of the keyring's key that the pepper is derived from.
    pepper: Mapped[str]
    permissions: Mapped[list[str]]
    #: Whose rights bound the key's; None for keys made by an operator. The key goes when the person does.
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    ip_allow_list: Mapped[list[str]]
    rate_limit_per_minute: Mapped[int | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None]
    #: The key that took its place by rotation.
    replaced_by_id: Mapped[str | None]
    #: Days before its end that the owner was last warned of.
    warned_days: Mapped[int | None]
