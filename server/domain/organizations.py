"""Organizations: what clients, API keys and members belong to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Select, bindparam, false, select
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Denied, Invalid, NotFound
from server.domain.membership_records import OWNER, insert_membership
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User, is_name
from server.infra import secrets
from server.infra.database import Base, columns_of, snapshot

ID_PREFIX: Final = "org_"
_ID: Final = re.compile(r"org_[0-9A-Za-z]{1,60}")
_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?")
_LONGEST_SLUG: Final = 50
#: What stands in the place of an organization in the paths of our own pages.
_RESERVED_SLUGS: Final = frozenset({"new", "organizations"})
#: How much of a taken slug makes room for what tells it from the other.
_SUFFIX_LENGTH: Final = 6


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


def create_organization(
    work: UnitOfWork, name: str, *, slug: str | None = None, owner: User | None = None, is_demo: bool = False
) -> Organization:
    """Makes an organization, with `owner` as its first member. Without a slug one is made of the name.

    Raises:
        Invalid: when the name cannot be shown or the slug cannot stand in a URL.
        Conflict: when another organization has the slug.
    """
    name = _checked_name(name)
    organization = Organization(
        id=ID_PREFIX + secrets.new_id(),
        name=name,
        slug=_free_slug(work, name) if slug is None else _checked_slug(work, slug),
        is_demo=is_demo,
        created_at=work.now,
        updated_at=work.now,
    )
    work.db.add(organization)
    work.db.flush()
    audit_log.record(
        work, AuditEvent.ORGANIZATION_CREATED, organization_id=organization.id, name=name, slug=organization.slug
    )
    if owner is not None:
        insert_membership(work, organization.id, owner.id, OWNER)
    return organization


def may_create_organizations(work: UnitOfWork) -> bool:
    """Whether people make organizations themselves, rather than the operator alone."""
    return work.settings.organization_creation == "anyone"


def check_may_create_organizations(work: UnitOfWork) -> None:
    """Refuses people where the operator alone makes organizations.

    Raises:
        Denied: when that is so.
    """
    if not may_create_organizations(work):
        raise Denied("Here the operator alone creates organizations.")


def find_organization(work: UnitOfWork, id_or_slug: str) -> Organization | None:
    """The organization of this id or slug, suspended or not, or None."""
    if _ID.fullmatch(id_or_slug):
        return work.db.get(Organization, id_or_slug)
    if not _SLUG.fullmatch(id_or_slug):
        return None
    return work.db.scalars(select(Organization).where(Organization.slug == id_or_slug)).one_or_none()


def get_organization(work: UnitOfWork, id_or_slug: str) -> Organization:
    """The organization of this id or slug.

    Raises:
        NotFound: when there is none.
    """
    organization = find_organization(work, id_or_slug)
    if organization is None:
        raise NotFound(f"There is no organization {id_or_slug}.")
    return organization


_BY_ID: Final = select(*columns_of(Organization)).where(Organization.id == bindparam("organization_id"))


def registered_organization(work: UnitOfWork, organization_id: str) -> Organization | None:
    """The organization of this id for reading only, from memory while the registry is unchanged, or None."""

    def load() -> Organization | None:
        rows = work.read(_BY_ID, {"organization_id": organization_id})
        return snapshot(Organization, rows[0]) if rows else None

    return work.from_registry((Organization, organization_id), load)


def lock_organization(work: UnitOfWork, organization_id: str) -> Organization:
    """The organization as it is now, held until this transaction ends: of two changes to its people one waits.

    Whoever changes members, roles or invitations takes it first: with one order there are no deadlocks.

    Raises:
        NotFound: when it has just been removed.
    """
    # What points to the organization may still be written meanwhile.
    return _held(work, organization_id, select(Organization).with_for_update(key_share=True))


def hold_organization(work: UnitOfWork, organization_id: str) -> Organization:
    """The organization as it is now, which is not removed before this transaction ends; nobody else waits.

    Raises:
        NotFound: when it has just been removed.
    """
    return _held(work, organization_id, select(Organization).with_for_update(read=True, key_share=True))


def _held(work: UnitOfWork, organization_id: str, holding: Select[Organization]) -> Organization:
    work.db.flush()
    query = holding.where(Organization.id == organization_id)
    found = work.db.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if found is None:
        raise NotFound("This organization no longer exists.")
    return found


def list_organizations(work: UnitOfWork) -> Sequence[Organization]:
    """All organizations, oldest first."""
    return work.db.scalars(select(Organization).order_by(Organization.created_at, Organization.id)).all()


def find_demo_organization(work: UnitOfWork) -> Organization | None:
    """The one that `gatepost dev` made, whatever it is called by now, or None."""
    return work.db.scalars(select(Organization).where(Organization.is_demo)).first()


def update_organization(
    work: UnitOfWork, organization: Organization, *, name: str | None = None, slug: str | None = None
) -> None:
    """Renames it, in words or in URLs. What is the same already leaves no mark.

    Raises:
        Invalid: when the name cannot be shown or the slug cannot stand in a URL.
        Conflict: when another organization has the slug.
    """
    changed = []
    if name is not None and _checked_name(name) != organization.name:
        organization.name = _checked_name(name)
        changed.append("name")
    if slug is not None and slug != organization.slug:
        organization.slug = _checked_slug(work, slug)
        changed.append("slug")
    if changed:
        organization.updated_at = work.now
        work.db.flush()
        audit_log.record(
            work,
            AuditEvent.ORGANIZATION_UPDATED,
            organization_id=organization.id,
            changed=changed,
            name=organization.name,
            slug=organization.slug,
        )


def suspend_organization(work: UnitOfWork, organization: Organization) -> None:
    """Stops everything that belongs to it, at once and everywhere, until it is resumed. Idempotent."""
    if organization.suspended_at is None:
        organization.suspended_at = organization.updated_at = work.now
        audit_log.record(work, AuditEvent.ORGANIZATION_SUSPENDED, organization_id=organization.id)


def resume_organization(work: UnitOfWork, organization: Organization) -> None:
    """Lets it go on. Idempotent."""
    if organization.suspended_at is not None:
        organization.suspended_at, organization.updated_at = None, work.now
        audit_log.record(work, AuditEvent.ORGANIZATION_RESUMED, organization_id=organization.id)


def _checked_name(name: str) -> str:
    shown = unicodedata.normalize("NFC", name.strip())
    if not is_name(shown):
        raise Invalid("name", "A name has 1 to 200 printable characters.")
    return shown


def _checked_slug(work: UnitOfWork, slug: str) -> str:
    if not _SLUG.fullmatch(slug):
        raise Invalid(
            "slug", "A slug has 1 to 50 lower-case letters, digits and hyphens, with no hyphen at either end."
        )
    if slug in _RESERVED_SLUGS:
        raise Invalid("slug", f"The slug {slug} is needed for pages of our own. Choose another.")
    if find_organization(work, slug) is not None:
        raise Conflict(f"There is an organization with the slug {slug} already.")
    return slug


def _free_slug(work: UnitOfWork, name: str) -> str:
    """A slug made of the name; where another organization has it, with a random ending."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name.lower())[:_LONGEST_SLUG].strip("-") or "organization"
    if slug not in _RESERVED_SLUGS and find_organization(work, slug) is None:
        return slug
    ending = secrets.new_id()[:_SUFFIX_LENGTH].lower()
    return f"{slug[: _LONGEST_SLUG - _SUFFIX_LENGTH - 1].rstrip('-')}-{ending}"
