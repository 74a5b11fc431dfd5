"""Roles: built in or an organization's own, never wider than whoever gives or makes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from server.domain import roles, scopes
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Denied, Invalid, NotFound
from server.domain.memberships import add_member, suspend_membership
from server.domain.organizations import Organization, create_organization
from server.domain.policy.role_permissions import ROLES
from server.domain.roles import (
    check_may_change_member,
    check_may_give_role,
    check_role,
    create_role,
    delete_role,
    get_role,
    list_roles,
    rights_of_member,
    rights_of_role,
    title_of,
    update_role,
)
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import audited, last_audited, make_user
from tests.support.application import Gatepost

SCOPES = {
    "notes:read": {"sentence": "Read notes"},
    "notes:write": {"sentence": "Write notes", "sensitive": True},
}


@pytest.fixture
def acme(work: UnitOfWork) -> Organization:
    return create_organization(work, "Acme")


def test_role_is_listed_beside_the_built_in_ones_when_made(work: UnitOfWork, acme: Organization) -> None:
    role = create_role(
        work, acme, "release-manager", ["users:read", "roles:read", "users:read"], " Ships\nit ", maker_rights=None
    )
    found = list_roles(work, acme.id)
    assert [each.name for each in found] == [*ROLES, "release-manager"]
    assert found[-1] == roles.RoleView(
        "release-manager", "Release manager", "Ships it", ("roles:read", "users:read"), is_built_in=False, id=role.id
    )
    assert all(each.is_built_in and each.id is None for each in found[:-1])
    assert (title_of(work, acme.id, "release-manager"), title_of(work, acme.id, "gone")) == ("Release manager", "gone")
    row = last_audited(work, AuditEvent.ROLE_CREATED)
    assert (row.organization_id, row.details["role_id"]) == (acme.id, role.id)
    assert row.details["permissions"] == ["roles:read", "users:read"]


def test_role_is_of_one_organization_only(work: UnitOfWork, acme: Organization) -> None:
    other = create_organization(work, "Other")
    role = create_role(work, acme, "releaser", ["users:read"], maker_rights=None)
    assert get_role(work, acme.id, "releaser") is get_role(work, acme.id, role.id) is role
    check_role(work, acme.id, "releaser")
    for name in ("releaser", role.id):
        with pytest.raises(NotFound):
            get_role(work, other.id, name)
    with pytest.raises(Invalid):
        check_role(work, other.id, "releaser")
    assert "releaser" not in [each.name for each in list_roles(work, other.id)]
    assert not rights_of_role(work, other.id, "releaser").allows("users:read")


@pytest.mark.parametrize("name", ["", "Releaser", "-a", "a-", "1a", "a b", "a_b", "a" * 51, "ä", "a\n"])
def test_name_is_refused_when_it_is_none(work: UnitOfWork, acme: Organization, name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        create_role(work, acme, name, ["users:read"], maker_rights=None)
    assert refusal.value.field == "name"


@pytest.mark.parametrize("name", [*ROLES, "releaser"])
def test_name_is_refused_when_a_role_has_it(work: UnitOfWork, acme: Organization, name: str) -> None:
    create_role(work, acme, "releaser", ["users:read"], maker_rights=None)
    with pytest.raises(Conflict):
        create_role(work, acme, name, ["users:read"], maker_rights=None)


@pytest.mark.parametrize(
    "permissions", [[], ["nothing"], ["users:read", "users:shout"], [""], ["users:read users:write"]]
)
def test_permissions_are_refused_when_there_are_no_such(
    work: UnitOfWork, acme: Organization, permissions: list[str]
) -> None:
    with pytest.raises(Invalid) as refusal:
        create_role(work, acme, "releaser", permissions, maker_rights=None)
    assert refusal.value.field == "permissions"
    role = create_role(work, acme, "releaser", ["users:read"], maker_rights=None)
    with pytest.raises(Invalid):
        update_role(work, role, permissions=permissions, maker_rights=None)
    assert role.permissions == ["users:read"]


@pytest.mark.parametrize("description", ["x" * 301, "bell\a"])
def test_description_is_refused_when_it_cannot_be_shown(work: UnitOfWork, acme: Organization, description: str) -> None:
    with pytest.raises(Invalid) as refusal:
        create_role(work, acme, "releaser", ["users:read"], description, maker_rights=None)
    assert refusal.value.field == "description"


@pytest.mark.spec("K-11")
@pytest.mark.parametrize("permission", ["organizations:delete", "*", "users:*", "*:delete"])
def test_nobody_makes_a_role_with_more_than_they_have(work: UnitOfWork, acme: Organization, permission: str) -> None:
    maker = scopes.rights(work.settings, ["users:read", "users:write", "roles:read", "roles:write"])
    with pytest.raises(Denied):
        create_role(work, acme, "releaser", ["users:read", permission], maker_rights=maker)
    role = create_role(work, acme, "releaser", ["users:read"], maker_rights=maker)
    with pytest.raises(Denied):
        update_role(work, role, permissions=["users:read", permission], maker_rights=maker)
    assert role.permissions == ["users:read"]
    assert len(audited(work, AuditEvent.ROLE_CREATED)) == 1
    assert audited(work, AuditEvent.ROLE_UPDATED) == []
    update_role(work, role, permissions=["users:write"], maker_rights=maker)
    assert last_audited(work, AuditEvent.ROLE_UPDATED).details["permissions"] == ["users:write"]


@pytest.mark.spec("K-11", "INV-30")
def test_nobody_empties_a_role_that_allows_more_than_theirs(work: UnitOfWork, acme: Organization) -> None:
    """Who may not demote somebody may not do it by way of their role."""
    role = create_role(work, acme, "chief", ["users:*", "organizations:delete"], maker_rights=None)
    admin = scopes.rights_of_role(work.settings, "admin")
    with pytest.raises(Denied):
        update_role(work, role, permissions=["users:read"], maker_rights=admin)
    assert set(role.permissions) == {"users:*", "organizations:delete"}
    update_role(work, role, permissions=["users:read"], maker_rights=scopes.rights_of_role(work.settings, "owner"))
    assert role.permissions == ["users:read"]


def test_change_is_told_of_only_when_there_is_one(work: UnitOfWork, acme: Organization) -> None:
    role = create_role(work, acme, "releaser", ["users:read", "roles:read"], "Ships", maker_rights=None)
    update_role(work, role, permissions=["users:read", "roles:read"], description="Ships", maker_rights=None)
    assert audited(work, AuditEvent.ROLE_UPDATED) == []
    # Whoever may not give what is in it may still describe it.
    update_role(work, role, description="Ships it", maker_rights=scopes.rights(work.settings, ["roles:write"]))
    assert len(audited(work, AuditEvent.ROLE_UPDATED)) == 1


@pytest.mark.spec("K-12")
@pytest.mark.spec("L-06")
def test_member_has_the_rights_of_their_role_as_it_is_now(work: UnitOfWork, acme: Organization) -> None:
    role = create_role(work, acme, "releaser", ["users:read", "users:write"], maker_rights=None)
    membership = add_member(work, acme, make_user(work), "releaser")
    assert rights_of_member(work, membership).allows_all(["users:read", "users:write"])
    update_role(work, role, permissions=["users:read"], maker_rights=None)
    assert rights_of_member(work, membership).granted == {"users:read"}
    suspend_membership(work, membership)
    assert rights_of_member(work, membership).granted == frozenset()


def test_role_stays_while_a_member_has_it(work: UnitOfWork, acme: Organization) -> None:
    role = create_role(work, acme, "releaser", ["users:read"], maker_rights=None)
    membership = add_member(work, acme, make_user(work), "releaser")
    suspend_membership(work, membership)
    with pytest.raises(Conflict):
        delete_role(work, role)
    other = create_organization(work, "Other")
    namesake = create_role(work, other, "releaser", ["users:read"], maker_rights=None)
    delete_role(work, namesake)
    assert [row.organization_id for row in audited(work, AuditEvent.ROLE_DELETED)] == [other.id]
    assert get_role(work, acme.id, "releaser") is role
    with pytest.raises(NotFound):
        delete_role(work, namesake)


@pytest.mark.spec("K-11")
def test_nobody_gives_a_role_with_more_than_they_have(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(scopes=SCOPES)
    gives = {
        "owner": {"owner", "admin", "developer", "billing", "member", "releaser", "writer"},
        "admin": {"admin", "developer", "billing", "member", "releaser", "writer"},
        "developer": {"developer", "member", "releaser", "writer"},
        "billing": {"billing"},
        "member": {"member", "releaser"},
        "releaser": {"releaser"},
        # It lacks `roles:read`, which a member has.
        "writer": {"writer"},
    }
    with gatepost.work() as work:
        acme = create_organization(work, "Acme")
        create_role(work, acme, "releaser", ["users:read", "notes:read"], maker_rights=None)
        create_role(work, acme, "writer", ["notes:write"], maker_rights=None)
        for giver, expected in gives.items():
            rights, given = rights_of_role(work, acme.id, giver), set()
            for role in gives:
                try:
                    check_may_give_role(work, rights, acme.id, role)
                    given.add(role)
                except Denied:
                    continue
            assert given == expected, giver
        with pytest.raises(Invalid):
            check_may_give_role(work, rights_of_role(work, acme.id, "owner"), acme.id, "nothing")


@pytest.mark.spec("K-11")
def test_api_rights_of_a_role_count_when_it_is_given(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(scopes=SCOPES)
    with gatepost.work() as work:
        acme = create_organization(work, "Acme")
        # Every permission of a developer by name, but not the API's.
        giver = scopes.rights(work.settings, ROLES["developer"].permissions)
        with pytest.raises(Denied):
            check_may_give_role(work, giver, acme.id, "developer")
        with pytest.raises(Denied):
            check_may_give_role(work, giver, acme.id, "member")


def test_nobody_changes_a_member_with_more_rights(work: UnitOfWork, acme: Organization) -> None:
    owner = add_member(work, acme, make_user(work, "owner@example.com"), "owner")
    admin = add_member(work, acme, make_user(work, "admin@example.com"), "admin")
    check_may_change_member(work, rights_of_member(work, owner), admin)
    check_may_change_member(work, rights_of_member(work, admin), admin)
    with pytest.raises(Denied):
        check_may_change_member(work, rights_of_member(work, admin), owner)
    # Suspended, the owner would still have their rights again some day.
    add_member(work, acme, make_user(work, "second@example.com"), "owner")
    suspend_membership(work, owner)
    with pytest.raises(Denied):
        check_may_change_member(work, rights_of_member(work, admin), owner)
