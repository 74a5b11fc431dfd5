"""Memberships: who belongs to an organization, in which role. Every organization keeps an owner who can act for it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_, select

from server.domain import audit_log
from server.domain.api_keys import revoke_keys_of_owner
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, NotFound
from server.domain.membership_records import OWNER, count_usable_owners, insert_membership
from server.domain.membership_records import Membership as Membership
from server.domain.organizations import Organization, lock_organization
from server.domain.roles import check_role
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User


def add_member(work: UnitOfWork, organization: Organization, user: User, role: str) -> Membership:
    """Makes the person a member.

    Raises:
        Invalid: when there is no such role.
        Conflict: when the person is a member already.
    """
    lock_organization(work, organization.id)
    check_role(work, organization.id, role)
    return insert_membership(work, organization.id, user.id, role)


def find_membership(work: UnitOfWork, organization_id: str, user_id: str) -> Membership | None:
    """The person's membership in the organization, suspended or not, or None."""
    query = select(Membership).where(Membership.organization_id == organization_id, Membership.user_id == user_id)
    return work.db.scalars(query).one_or_none()


def get_membership(work: UnitOfWork, organization_id: str, id_or_user_id: str) -> Membership:
    """The membership of this id, or of the person of this id, in the organization.

    Raises:
        NotFound: when there is none, whatever other organizations have.
    """
    is_meant = or_(Membership.id == id_or_user_id, Membership.user_id == id_or_user_id)
    query = select(Membership).where(Membership.organization_id == organization_id, is_meant)
    found = work.db.scalars(query).one_or_none()
    if found is None:
        raise NotFound(f"The organization has no member {id_or_user_id}.")
    return found


def list_memberships(work: UnitOfWork, organization_id: str) -> list[tuple[Membership, User]]:
    """The organization's members, oldest first."""
    query = (
        select(Membership, User)
        .join(User, User.id == Membership.user_id)
        .where(Membership.organization_id == organization_id)
        .order_by(Membership.created_at, Membership.id)
    )
    return [(membership, user) for membership, user in work.db.execute(query).all()]


def list_memberships_of(work: UnitOfWork, user_id: str) -> list[tuple[Membership, Organization]]:
    """Where the person is a member, suspended or not, by the organizations' names."""
    query = (
        select(Membership, Organization)
        .join(Organization, Organization.id == Membership.organization_id)
        .where(Membership.user_id == user_id)
        .order_by(Organization.name, Organization.id)
    )
    return [(membership, organization) for membership, organization in work.db.execute(query).all()]


def change_role(work: UnitOfWork, membership: Membership, role: str) -> None:
    """Gives the member another role; what they do from then on, and their API keys, have its rights.

    Raises:
        NotFound: when they are no longer a member.
        Invalid: when there is no such role.
        Conflict: when they are the last owner.
    """
    _lock(work, membership)
    if membership.role == role:
        return
    check_role(work, membership.organization_id, role)
    _check_is_not_last_owner(work, membership)
    previous, membership.role, membership.updated_at = membership.role, role, work.now
    work.db.flush()
    _record(work, AuditEvent.MEMBERSHIP_ROLE_CHANGED, membership, role=role, previous_role=previous)


def suspend_membership(work: UnitOfWork, membership: Membership) -> None:
    """Takes the member's rights away until they are given back. Idempotent.

    Raises:
        NotFound: when they are no longer a member.
        Conflict: when they are the last owner.
    """
    _lock(work, membership)
    if membership.suspended_at is None:
        _check_is_not_last_owner(work, membership)
        membership.suspended_at = membership.updated_at = work.now
        work.db.flush()
        _record(work, AuditEvent.MEMBERSHIP_SUSPENDED, membership)


def resume_membership(work: UnitOfWork, membership: Membership) -> None:
    """Gives a suspended member their rights back. Idempotent.

    Raises:
        NotFound: when they are no longer a member.
    """
    _lock(work, membership)
    if membership.suspended_at is not None:
        membership.suspended_at, membership.updated_at = None, work.now
        work.db.flush()
        _record(work, AuditEvent.MEMBERSHIP_RESUMED, membership)


def remove_member(work: UnitOfWork, membership: Membership) -> None:
    """Ends the membership; the person's account stays, and their API keys of the organization are revoked.

    Raises:
        NotFound: when they are no longer a member.
        Conflict: when they are the last owner.
    """
    _lock(work, membership)
    _check_is_not_last_owner(work, membership)
    end_membership(work, membership)


def end_membership(work: UnitOfWork, membership: Membership, reason: str = "removed") -> None:
    """Ends the membership whoever is left: for what ends together with its organization or its person."""
    # For good: somebody who comes back some day makes new ones.
    revoke_keys_of_owner(work, membership.organization_id, membership.user_id, "owner_removed")
    work.db.delete(membership)
    work.db.flush()
    _record(work, AuditEvent.MEMBERSHIP_REMOVED, membership, role=membership.role, reason=reason)


def is_last_owner(work: UnitOfWork, membership: Membership) -> bool:
    """Whether nobody else owns the organization who can act for it."""
    is_owner = membership.role == OWNER and membership.suspended_at is None
    return is_owner and count_usable_owners(work, membership.organization_id, besides=membership.id) == 0


def _lock(work: UnitOfWork, membership: Membership) -> None:
    """Holds the organization, and reads the membership as the change before this one left it."""
    lock_organization(work, membership.organization_id)
    found: Sequence[Membership] = work.db.scalars(
        select(Membership).where(Membership.id == membership.id).execution_options(populate_existing=True)
    ).all()
    if not found:
        raise NotFound("This person is no longer a member of the organization.")


def _check_is_not_last_owner(work: UnitOfWork, membership: Membership) -> None:
    if is_last_owner(work, membership):
        raise Conflict("This is the organization's last owner. Make somebody else an owner first.")


def _record(work: UnitOfWork, event: AuditEvent, membership: Membership, **details: str) -> None:
    audit_log.record(
        work,
        event,
        user_id=membership.user_id,
        organization_id=membership.organization_id,
        membership_id=membership.id,
        **details,
    )
