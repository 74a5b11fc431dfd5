"""Roles: the built-in ones, and an organization's own as named sets of permissions beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ForeignKey, UniqueConstraint, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log, scopes
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Denied, Invalid, NotFound
from server.domain.membership_records import Membership, is_role_held
from server.domain.organizations import Organization, lock_organization
from server.domain.policy.role_permissions import ROLES
from server.domain.scopes import Rights
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base

ID_PREFIX: Final = "rol_"
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,48}[a-z0-9])?")
_LONGEST_DESCRIPTION: Final = 300
_MOST_PERMISSIONS: Final = 200


class CustomRole(Base):
    """One role that an organization made."""

    __tablename__ = "roles"
    __table_args__ = (UniqueConstraint("organization_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"))
    #: What memberships and invitations call it; it never changes.
    name: Mapped[str]
    description: Mapped[str]
    permissions: Mapped[list[str]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


@dataclass(frozen=True)
class RoleView:
    """A role that a member may have, built in or the organization's own."""

    name: str
    title: str
    sentence: str
    permissions: tuple[str, ...]
    is_built_in: bool
    #: None for the built-in ones.
    id: str | None


def create_role(
    work: UnitOfWork,
    organization: Organization,
    name: str,
    permissions: Sequence[str],
    description: str = "",
    *,
    maker_rights: Rights | None,
) -> CustomRole:
    """Makes a role of the organization's own.

    Args:
        work: the unit of work.
        organization: whose role it is.
        name: what it is called.
        permissions: what it allows, as scopes.
        description: a sentence for people.
        maker_rights: the rights of whoever makes it, or None for an operator.

    Raises:
        Invalid: when name, description or a permission is not one.
        Denied: when the maker has not themselves what the role would give.
        Conflict: when there is such a role already.
    """
    lock_organization(work, organization.id)
    if not _NAME.fullmatch(name):
        raise Invalid("name", "A role's name has 1 to 50 lower-case letters, digits and hyphens, a letter first.")
    if name in ROLES or find_role(work, organization.id, name) is not None:
        raise Conflict(f"There is a role {name} already.")
    role = CustomRole(
        id=ID_PREFIX + secrets.new_id(),
        organization_id=organization.id,
        name=name,
        description=_checked_description(description),
        permissions=_checked_permissions(work, permissions, maker_rights),
        created_at=work.now,
        updated_at=work.now,
    )
    work.db.add(role)
    work.db.flush()
    _record(work, AuditEvent.ROLE_CREATED, role)
    return role


def update_role(
    work: UnitOfWork,
    role: CustomRole,
    *,
    permissions: Sequence[str] | None = None,
    description: str | None = None,
    maker_rights: Rights | None,
) -> None:
    """Changes what the role allows, for all who have it at once, or what is said of it.

    Raises:
        Invalid: when the description or a permission is not one.
        Denied: when the maker has not themselves what the role gives or would give.
        NotFound: when the role was removed meanwhile.
    """
    _lock(work, role)
    changed = False
    if description is not None and description != role.description:
        role.description, changed = _checked_description(description), True
    if permissions is not None and set(permissions) != set(role.permissions):
        given = scopes.rights_of_role(work.settings, role.name, role.permissions)
        # Who may not demote those who have it may not do so by emptying it either.
        if maker_rights is not None and exceeds(work, given, maker_rights):
            raise Denied("This role allows more than yours. Only somebody with as much can change it.")
        role.permissions, changed = _checked_permissions(work, permissions, maker_rights), True
    if changed:
        role.updated_at = work.now
        work.db.flush()
        _record(work, AuditEvent.ROLE_UPDATED, role)


def delete_role(work: UnitOfWork, role: CustomRole) -> None:
    """Removes a role that no member has. An open invitation to it can no longer be accepted.

    Raises:
        Conflict: while members have it.
        NotFound: when it was removed meanwhile.
    """
    _lock(work, role)
    if is_role_held(work, role.organization_id, role.name):
        raise Conflict(f"Members have the role {role.name}. Give them another one first.")
    work.db.delete(role)
    work.db.flush()
    _record(work, AuditEvent.ROLE_DELETED, role)


def find_role(work: UnitOfWork, organization_id: str, name: str) -> CustomRole | None:
    """The organization's own role of this name, or None."""
    query = select(CustomRole).where(CustomRole.organization_id == organization_id, CustomRole.name == name)
    return work.db.scalars(query).one_or_none()


def get_role(work: UnitOfWork, organization_id: str, id_or_name: str) -> CustomRole:
    """The organization's own role of this id or name.

    Raises:
        NotFound: when there is none, whatever other organizations have.
    """
    is_meant = or_(CustomRole.id == id_or_name, CustomRole.name == id_or_name)
    query = select(CustomRole).where(CustomRole.organization_id == organization_id, is_meant)
    found = work.db.scalars(query).one_or_none()
    if found is None:
        raise NotFound(f"The organization has no role {id_or_name} of its own.")
    return found


def list_roles(work: UnitOfWork, organization_id: str) -> list[RoleView]:
    """The roles that members of the organization may have: the built-in ones, then its own by name."""
    built_in = [
        RoleView(role.name, role.title, role.sentence, tuple(role.permissions), is_built_in=True, id=None)
        for role in ROLES.values()
    ]
    query = select(CustomRole).where(CustomRole.organization_id == organization_id).order_by(CustomRole.name)
    return built_in + [view_of(role) for role in work.db.scalars(query)]


def view_of(role: CustomRole) -> RoleView:
    """An organization's own role beside the built-in ones."""
    title = role.name.replace("-", " ").capitalize()
    return RoleView(role.name, title, role.description, tuple(role.permissions), is_built_in=False, id=role.id)


def title_of(work: UnitOfWork, organization_id: str, role: str) -> str:
    """What people call the role, also when it is gone."""
    return next((each.title for each in list_roles(work, organization_id) if each.name == role), role)


def check_role(work: UnitOfWork, organization_id: str, role: str, *, meant_at: datetime | None = None) -> None:
    """Refuses what is no role of the organization; of the same name, one made after `meant_at` is another.

    Raises:
        Invalid: when it is none.
    """
    found = None if role in ROLES else find_role(work, organization_id, role)
    is_another = found is not None and meant_at is not None and found.created_at > meant_at
    if role not in ROLES and (found is None or is_another):
        raise Invalid("role", f"The organization has no role {role}.")


def rights_of_role(work: UnitOfWork, organization_id: str, role: str) -> Rights:
    """What the role allows; nothing when there is no such role."""
    if role in ROLES:
        return scopes.rights_of_role(work.settings, role)
    custom = find_role(work, organization_id, role)
    return scopes.rights_of_role(work.settings, role, custom.permissions if custom is not None else ())


def rights_of_member(work: UnitOfWork, membership: Membership) -> Rights:
    """What the member may do in the organization; nothing while they are suspended."""
    if membership.suspended_at is not None:
        return scopes.rights(work.settings, ())
    return rights_of_role(work, membership.organization_id, membership.role)


def exceeds(work: UnitOfWork, rights: Rights, bounds: Rights) -> bool:
    """Whether `rights` allow anything that `bounds` do not."""
    # A role may allow scopes that it does not name; those that the deployment knows are asked one by one.
    allowed = {name for name in scopes.catalogue(work.settings) if rights.allows(name)}
    return bool(bounds.excess(rights.granted | allowed))


def check_may_give_role(work: UnitOfWork, giver_rights: Rights, organization_id: str, role: str) -> None:
    """Refuses to let anybody give more than they have.

    Raises:
        Invalid: when there is no such role.
        Denied: when the role allows what the giver may not do.
    """
    check_role(work, organization_id, role)
    if exceeds(work, rights_of_role(work, organization_id, role), giver_rights):
        raise Denied(f"You cannot give the role {role}: it allows more than you may do yourself.")


def check_may_change_member(work: UnitOfWork, actor_rights: Rights, membership: Membership) -> None:
    """Refuses to let anybody change or remove a member who has more rights than they.

    Raises:
        Denied: when the member's role allows what the actor may not do.
    """
    # Also of a suspended member: what they would have again.
    if exceeds(work, rights_of_role(work, membership.organization_id, membership.role), actor_rights):
        raise Denied("You cannot change this member: their role allows more than yours.")


def _lock(work: UnitOfWork, role: CustomRole) -> None:
    lock_organization(work, role.organization_id)
    found = select(CustomRole).where(CustomRole.id == role.id).execution_options(populate_existing=True)
    if work.db.scalars(found).one_or_none() is None:
        raise NotFound("This role no longer exists.")


def _checked_description(description: str) -> str:
    shown = " ".join(description.split())
    if len(shown) > _LONGEST_DESCRIPTION or not (shown.isprintable() or not shown):
        raise Invalid("description", f"A description has at most {_LONGEST_DESCRIPTION} printable characters.")
    return shown


def _checked_permissions(work: UnitOfWork, permissions: Sequence[str], maker_rights: Rights | None) -> list[str]:
    wanted = sorted(set(permissions))
    unknown = [each for each in wanted if not scopes.is_known(work.settings, each)]
    if unknown:
        raise Invalid("permissions", f"There is no permission {unknown[0]}.")
    if not wanted or len(wanted) > _MOST_PERMISSIONS:
        raise Invalid("permissions", f"A role has 1 to {_MOST_PERMISSIONS} permissions.")
    if maker_rights is not None and maker_rights.excess(wanted):
        raise Denied("A role cannot allow more than you may do yourself.")
    return wanted


def _record(work: UnitOfWork, event: AuditEvent, role: CustomRole) -> None:
    audit_log.record(
        work,
        event,
        organization_id=role.organization_id,
        role_id=role.id,
        role=role.name,
        permissions=list(role.permissions),
    )
