"""The table of memberships, and what organizations and roles ask of it; the rules over it are in `memberships`."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import ForeignKey, UniqueConstraint, exists, func, select
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from server.infra import secrets
from server.infra.database import Base, insert_if_absent

ID_PREFIX: Final = "mem_"
#: The role that every organization keeps somebody in.
OWNER: Final = "owner"


class Membership(Base):
    """One person in one organization."""

    __tablename__ = "memberships"
    __table_args__ = (UniqueConstraint("organization_id", "user_id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    #: The name of a built-in role or of one of the organization's own.
    role: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    suspended_at: Mapped[datetime | None]


def insert_membership(work: UnitOfWork, organization_id: str, user_id: str, role: str) -> Membership:
    """Adds a member whose role was checked.

    Raises:
        Conflict: when the person is a member already.
    """
    membership_id = ID_PREFIX + secrets.new_id()
    values = {
        "id": membership_id,
        "organization_id": organization_id,
        "user_id": user_id,
        "role": role,
        "created_at": work.now,
        "updated_at": work.now,
        "suspended_at": None,
    }
    work.db.flush()
    if not insert_if_absent(work.db, Membership, values):
        raise Conflict("This person is a member of the organization already.")
    audit_log.record(
        work,
        AuditEvent.MEMBERSHIP_ADDED,
        user_id=user_id,
        organization_id=organization_id,
        membership_id=membership_id,
        role=role,
    )
    return work.db.get_one(Membership, membership_id)


def is_role_held(work: UnitOfWork, organization_id: str, role: str) -> bool:
    """Whether any member has this role."""
    held = exists().where(Membership.organization_id == organization_id, Membership.role == role)
    return bool(work.db.scalar(select(held)))


def count_usable_owners(work: UnitOfWork, organization_id: str, besides: str) -> int:
    """How many people own the organization and can act for it, not counting the membership of the id `besides`."""
    query = (
        select(func.count())
        .select_from(Membership)
        .join(User, User.id == Membership.user_id)
        .where(
            Membership.organization_id == organization_id,
            Membership.role == OWNER,
            Membership.id != besides,
            Membership.suspended_at.is_(None),
            User.disabled_at.is_(None),
        )
    )
    return work.db.scalar(query) or 0
