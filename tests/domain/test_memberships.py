"""Memberships: who belongs to an organization, and that it keeps an owner whoever goes, also when two go at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, DomainError, Invalid, NotFound
from server.domain.memberships import (
    Membership,
    add_member,
    change_role,
    find_membership,
    get_membership,
    is_last_owner,
    list_memberships,
    list_memberships_of,
    remove_member,
    resume_membership,
    suspend_membership,
)
from server.domain.organizations import Organization, create_organization, get_organization
from server.domain.roles import create_role
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User, disable_user, get_user
from tests.domain.factories import audited, last_audited, make_user
from tests.support.application import Gatepost

Act = Callable[[UnitOfWork, Membership], None]


@pytest.fixture
def ada(work: UnitOfWork) -> User:
    return get_user(work, "ada@example.com")


@pytest.fixture
def acme(work: UnitOfWork, ada: User) -> Organization:
    return create_organization(work, "Acme", owner=ada)


def demote(work: UnitOfWork, membership: Membership) -> None:
    change_role(work, membership, "member")


TAKING: dict[str, Act] = {"removed": remove_member, "demoted": demote, "suspended": suspend_membership}


def test_member_is_found_in_their_own_organization_only(work: UnitOfWork, acme: Organization) -> None:
    bob, other = make_user(work, "bob@example.com"), create_organization(work, "Other")
    membership = add_member(work, acme, bob, "developer")
    assert membership.id.startswith("mem_")
    assert find_membership(work, acme.id, bob.id) is membership
    assert get_membership(work, acme.id, bob.id) is get_membership(work, acme.id, membership.id) is membership
    assert membership in [each for each, _ in list_memberships(work, acme.id)]
    assert [organization.id for _, organization in list_memberships_of(work, bob.id)] == [acme.id]
    for name in (bob.id, membership.id):
        with pytest.raises(NotFound):
            get_membership(work, other.id, name)
    assert find_membership(work, other.id, bob.id) is None


def test_person_belongs_to_several_organizations_in_different_roles(
    work: UnitOfWork, acme: Organization, ada: User
) -> None:
    other = create_organization(work, "A first one")
    add_member(work, other, ada, "billing")
    assert [(organization.slug, each.role) for each, organization in list_memberships_of(work, ada.id)] == [
        ("a-first-one", "billing"),
        ("acme", "owner"),
    ]


def test_addition_is_refused_for_a_member_and_for_a_role_of_elsewhere(work: UnitOfWork, acme: Organization) -> None:
    bob, other = make_user(work, "bob@example.com"), create_organization(work, "Other")
    create_role(work, other, "releaser", ["users:read"], maker_rights=None)
    for role in ("releaser", "Owner", "", "nothing"):
        with pytest.raises(Invalid) as refusal:
            add_member(work, acme, bob, role)
        assert refusal.value.field == "role"
    add_member(work, acme, bob, "member")
    with pytest.raises(Conflict):
        add_member(work, acme, bob, "admin")
    assert {membership.role for membership, _ in list_memberships(work, acme.id)} == {"owner", "member"}
    assert len(audited(work, AuditEvent.MEMBERSHIP_ADDED)) == 2


def test_change_of_role_is_told_of_once_with_both_roles(work: UnitOfWork, acme: Organization) -> None:
    bob = make_user(work, "bob@example.com")
    membership = add_member(work, acme, bob, "member")
    for _ in range(2):
        change_role(work, membership, "admin")
    (row,) = audited(work, AuditEvent.MEMBERSHIP_ROLE_CHANGED)
    assert (row.organization_id, row.user_id) == (acme.id, bob.id)
    assert (row.details["previous_role"], row.details["role"]) == ("member", "admin")
    with pytest.raises(Invalid):
        change_role(work, membership, "nothing")
    assert membership.role == "admin"


def test_member_is_suspended_and_resumed_once_however_often_it_is_said(work: UnitOfWork, acme: Organization) -> None:
    membership = add_member(work, acme, make_user(work, "bob@example.com"), "member")
    for _ in range(2):
        suspend_membership(work, membership)
    assert membership.suspended_at == work.now
    for _ in range(2):
        resume_membership(work, membership)
    assert membership.suspended_at is None
    for event in (AuditEvent.MEMBERSHIP_SUSPENDED, AuditEvent.MEMBERSHIP_RESUMED):
        assert [row.organization_id for row in audited(work, event)] == [acme.id]


def test_removal_is_told_of_once_and_leaves_the_account(work: UnitOfWork, acme: Organization) -> None:
    bob = make_user(work, "bob@example.com")
    membership = add_member(work, acme, bob, "member")
    remove_member(work, membership)
    assert find_membership(work, acme.id, bob.id) is None
    assert get_user(work, bob.id) is bob
    row = last_audited(work, AuditEvent.MEMBERSHIP_REMOVED)
    assert (row.organization_id, row.user_id, row.details["role"]) == (acme.id, bob.id, "member")
    for act in (remove_member, demote, suspend_membership, resume_membership):
        with pytest.raises(NotFound):
            act(work, membership)
    assert len(audited(work, AuditEvent.MEMBERSHIP_REMOVED)) == 1


@pytest.mark.parametrize("act", TAKING.values(), ids=TAKING)
@pytest.mark.parametrize("other", ["none", "admin", "suspended owner", "disabled owner"])
@pytest.mark.spec("INV-37")
def test_last_owner_stays_whoever_else_is_there(
    work: UnitOfWork, acme: Organization, ada: User, act: Act, other: str
) -> None:
    if other != "none":
        bob = make_user(work, "bob@example.com")
        membership = add_member(work, acme, bob, "owner" if "owner" in other else "admin")
        if other == "suspended owner":
            suspend_membership(work, membership)
        if other == "disabled owner":
            disable_user(work, bob)
    owner = get_membership(work, acme.id, ada.id)
    before = len(audited(work, AuditEvent.MEMBERSHIP_SUSPENDED))
    with pytest.raises(Conflict, match="last owner"):
        act(work, owner)
    assert (owner.role, owner.suspended_at) == ("owner", None)
    assert is_last_owner(work, owner)
    for event in (AuditEvent.MEMBERSHIP_REMOVED, AuditEvent.MEMBERSHIP_ROLE_CHANGED):
        assert audited(work, event) == []
    assert len(audited(work, AuditEvent.MEMBERSHIP_SUSPENDED)) == before


@pytest.mark.parametrize("act", TAKING.values(), ids=TAKING)
def test_owner_may_go_when_another_can_act(work: UnitOfWork, acme: Organization, ada: User, act: Act) -> None:
    add_member(work, acme, make_user(work, "bob@example.com"), "owner")
    act(work, get_membership(work, acme.id, ada.id))
    assert sum(each.role == "owner" and each.suspended_at is None for each, _ in list_memberships(work, acme.id)) == 1


def test_suspended_owner_may_go_when_another_can_act(work: UnitOfWork, acme: Organization) -> None:
    membership = add_member(work, acme, make_user(work, "bob@example.com"), "owner")
    suspend_membership(work, membership)
    remove_member(work, membership)
    assert len(list_memberships(work, acme.id)) == 1


@pytest.fixture
def deployment(database_url: str, tmp_path: Path) -> Iterator[Gatepost]:
    gatepost = Gatepost(tmp_path, database_url=database_url)
    yield gatepost
    gatepost.close()


@pytest.mark.parametrize("act", TAKING.values(), ids=TAKING)
@pytest.mark.spec("INV-37")
def test_one_owner_is_left_when_all_go_at_once(deployment: Gatepost, act: Act) -> None:
    count = 4
    with deployment.work() as work:
        acme = create_organization(work, "Acme")
        people = [make_user(work, f"owner{number}@example.com") for number in range(count)]
        owners = [add_member(work, acme, person, "owner").id for person in people]
    together = Barrier(count)

    def go(membership_id: str) -> str:
        with deployment.work() as work:
            # On PostgreSQL all have read before anybody writes; SQLite lets one in at a time anyway.
            membership = get_membership(work, acme.id, membership_id)
            if deployment.engine.dialect.name == "postgresql":
                together.wait(10)
            try:
                act(work, membership)
            except DomainError as error:
                work.db.rollback()
                return type(error).__name__
        return "gone"

    with ThreadPoolExecutor(count) as pool:
        outcomes = sorted(pool.map(go, owners))
    assert outcomes == ["Conflict", *["gone"] * (count - 1)]
    with deployment.work() as work:
        left = [each for each, _ in list_memberships(work, acme.id) if each.role == "owner" and not each.suspended_at]
    assert len(left) == 1


def test_person_becomes_a_member_once_when_added_twice_at_once(deployment: Gatepost) -> None:
    with deployment.work() as work:
        acme, bob = create_organization(work, "Acme"), make_user(work, "bob@example.com")

    def add(_: int) -> str:
        with deployment.work() as work:
            try:
                add_member(work, get_organization(work, acme.id), bob, "member")
            except Conflict:
                return "refused"
        return "added"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(add, range(4))) == ["added", "refused", "refused", "refused"]
    assert len(deployment.audit_rows("membership.added")) == 1
