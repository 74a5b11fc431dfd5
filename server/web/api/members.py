"""`/v1/organizations/{organization}/members` and `…/users`: the people of an organization, as members and as users."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

from pydantic import Field

from server.domain.memberships import (
    Membership,
    change_role,
    get_membership,
    list_memberships,
    remove_member,
    resume_membership,
    suspend_membership,
)
from server.domain.roles import check_may_change_member, check_may_give_role
from server.domain.users import User, get_user
from server.web.api.admission import Call
from server.web.api.documents import Body, Document, Page, PageQuery, Text
from server.web.api.pagination import Position, one_page

RoleName = Annotated[Text, Field(min_length=1, max_length=50)]
Pair: TypeAlias = tuple[Membership, User]


class MemberDocument(Document):
    """A person in the organization."""

    id: str
    user_id: str
    email: str
    name: str | None
    role: str
    created_at: datetime
    suspended_at: datetime | None


class UserDocument(Document):
    """A person of the organization, by the id that tokens call them."""

    id: str
    email: str
    email_verified: bool
    name: str | None
    role: str
    created_at: datetime = Field(description="When they joined.")
    suspended_at: datetime | None


class MemberChanges(Body):
    """What changes; the rest stays."""

    role: RoleName | None = Field(default=None, description="The name of a role.")
    suspended: bool | None = Field(default=None, description="Whether nothing of theirs works here for now.")


def list_members(call: Call) -> Page[MemberDocument]:
    """Everybody, by membership."""
    page, cursor = _page(call)
    return Page[MemberDocument](data=[_member(*each) for each in page], next_cursor=cursor)


def list_users(call: Call) -> Page[UserDocument]:
    """Everybody, by user."""
    page, cursor = _page(call)
    return Page[UserDocument](data=[_user(*each) for each in page], next_cursor=cursor)


def _page(call: Call) -> tuple[list[Pair], str | None]:
    query: PageQuery = call.query
    return one_page(list_memberships(call.work, call.organization.id), query, _position)


def _position(pair: Pair) -> Position:
    return pair[0].created_at, pair[0].id


def get_member(call: Call, member_id: str) -> MemberDocument:
    """One membership, by its id or the user's."""
    return _member(*_pair(call, member_id))


def get_user_of_organization(call: Call, user_id: str) -> UserDocument:
    """One person, by their id or their membership's."""
    return _user(*_pair(call, user_id))


def _pair(call: Call, id_or_user_id: str) -> Pair:
    membership = get_membership(call.work, call.organization.id, id_or_user_id)
    return membership, get_user(call.work, membership.user_id)


def update_member(call: Call, member_id: str) -> MemberDocument:
    """Gives a member another role, or suspends or resumes them."""
    body: MemberChanges = call.body
    membership, user = _pair(call, member_id)
    check_may_change_member(call.work, call.allowed, membership)
    if body.role is not None and body.role != membership.role:
        check_may_give_role(call.work, call.allowed, call.organization.id, body.role)
        change_role(call.work, membership, body.role)
    if body.suspended is not None:
        (suspend_membership if body.suspended else resume_membership)(call.work, membership)
    return _member(membership, user)


def remove(call: Call, member_id: str) -> None:
    """Removes a person from the organization; their account stays."""
    membership, _ = _pair(call, member_id)
    check_may_change_member(call.work, call.allowed, membership)
    remove_member(call.work, membership)


def remove_user(call: Call, user_id: str) -> None:
    """The same, by the person's id."""
    remove(call, user_id)


def _member(membership: Membership, user: User) -> MemberDocument:
    return MemberDocument(
        id=membership.id,
        user_id=user.id,
        email=user.email,
        name=user.name,
        role=membership.role,
        created_at=membership.created_at,
        suspended_at=membership.suspended_at,
    )


def _user(membership: Membership, user: User) -> UserDocument:
    return UserDocument(
        id=user.id,
        email=user.email,
        email_verified=user.email_verified,
        name=user.name,
        role=membership.role,
        created_at=membership.created_at,
        suspended_at=membership.suspended_at,
    )
