"""Consents: what each person has allowed each client, remembered so that they are asked once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base, insert_if_absent


class Consent(Base):
    """The scopes one person has allowed one client so far."""

    __tablename__ = "consents"
    __table_args__ = (UniqueConstraint("user_id", "client_id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"), index=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


def find_consent(work: UnitOfWork, user_id: str, client_id: str) -> Consent | None:
    """What the person has allowed the client, or None."""
    query = select(Consent).where(Consent.user_id == user_id, Consent.client_id == client_id)
    return work.db.scalars(query).one_or_none()


def remembered_scopes(work: UnitOfWork, user_id: str, client_id: str) -> frozenset[str]:
    """The scopes that need not be asked for again."""
    consent = find_consent(work, user_id, client_id)
    return frozenset(consent.scopes) if consent else frozenset()


def give_consent(work: UnitOfWork, user_id: str, client_id: str, scopes: frozenset[str]) -> None:
    """Adds `scopes` to what the person has allowed the client."""
    row = {"id": secrets.new_id(), "user_id": user_id, "client_id": client_id, "scopes": []}
    insert_if_absent(work.db, Consent, {**row, "created_at": work.now, "updated_at": work.now})
    # Locked, so that two pages answered at once add up instead of overwriting each other.
    query = select(Consent).where(Consent.user_id == user_id, Consent.client_id == client_id).with_for_update()
    consent = work.db.scalars(query.execution_options(populate_existing=True)).one()
    consent.scopes = sorted(frozenset(consent.scopes) | scopes)
    consent.updated_at = work.now
    work.db.flush()
    audit_log.record(work, AuditEvent.CONSENT_GIVEN, user_id=user_id, client_id=client_id, scopes=sorted(scopes))
