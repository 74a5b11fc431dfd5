"""`/v1/organizations`: to see them, make one, change and delete it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from server.domain import deletion
from server.domain.errors import Denied
from server.domain.memberships import list_memberships_of
from server.domain.organizations import (
    Organization,
    check_may_create_organizations,
    create_organization,
    get_organization,
    update_organization,
)
from server.domain.usability import is_usable
from server.web.api.admission import Call, rights_in
from server.web.api.documents import Body, Document, Name, Page, PageQuery
from server.web.api.pagination import one_page

Slug = Annotated[str, Field(min_length=1, max_length=50, pattern="^[a-z0-9-]+$")]


class OrganizationDocument(Document):
    """An organization."""

    id: str
    name: str
    slug: str = Field(description="Its name in URLs; stands for the id in paths.")
    created_at: datetime
    updated_at: datetime
    suspended_at: datetime | None


class NewOrganization(Body):
    """An organization to make; whoever makes it is its owner."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Analytical Engines"}]})

    name: Name
    slug: Slug | None = Field(default=None, description="By default made from the name.")


class OrganizationChanges(Body):
    """What changes; the rest stays."""

    name: Name | None = None
    slug: Slug | None = None


def describe(organization: Organization) -> OrganizationDocument:
    """The organization as JSON."""
    return OrganizationDocument(
        id=organization.id,
        name=organization.name,
        slug=organization.slug,
        created_at=organization.created_at,
        updated_at=organization.updated_at,
        suspended_at=organization.suspended_at,
    )


def list_organizations(call: Call) -> Page[OrganizationDocument]:
    """Those that the caller belongs to."""
    query: PageQuery = call.query
    page, cursor = one_page(_organizations_of(call), query, lambda each: (each.created_at, each.id))
    return Page[OrganizationDocument](data=[describe(each) for each in page], next_cursor=cursor)


def _organizations_of(call: Call) -> list[Organization]:
    caller, work = call.caller, call.work
    if caller.kind != "user" or caller.user is None:
        own = get_organization(work, caller.organization_id) if caller.organization_id is not None else None
        return [own] if own is not None and rights_in(work, caller, own) is not None else []
    return [
        organization
        for membership, organization in list_memberships_of(work, caller.user.id)
        if is_usable(work.now, membership) and caller.organization_id in (None, organization.id)
    ]


def create(call: Call) -> OrganizationDocument:
    """Makes one, with the person as its owner.

    Raises:
        Denied: where the operator alone makes them, or the credential belongs to another.
    """
    body: NewOrganization = call.body
    check_may_create_organizations(call.work)
    if call.caller.organization_id is not None:
        raise Denied("The credential belongs to one organization and cannot make another.")
    return describe(create_organization(call.work, body.name, slug=body.slug, owner=call.person))


def get(call: Call) -> OrganizationDocument:
    """One of them."""
    return describe(call.organization)


def update(call: Call) -> OrganizationDocument:
    """Gives it another name, or another slug."""
    body: OrganizationChanges = call.body
    update_organization(call.work, call.organization, name=body.name, slug=body.slug)
    return describe(call.organization)


def delete(call: Call) -> None:
    """Removes it with all that belongs to it."""
    deletion.delete_organization(call.work, call.organization)
