"""Organizations: named in words and in URLs, suspended at once, remembered no longer than they are true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as events

from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Invalid, NotFound
from server.domain.memberships import list_memberships
from server.domain.organizations import (
    Organization,
    create_organization,
    find_organization,
    get_organization,
    list_organizations,
    lock_organization,
    registered_organization,
    resume_organization,
    suspend_organization,
    update_organization,
)
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import get_user
from tests.domain.factories import audited, last_audited, make_user
from tests.support.application import Gatepost


def test_organization_has_its_maker_as_owner_when_made(work: UnitOfWork) -> None:
    ada = get_user(work, "ada@example.com")
    acme = create_organization(work, "  Acme GmbH ", owner=ada)
    assert (acme.name, acme.slug, acme.is_demo, acme.suspended_at) == ("Acme GmbH", "acme-gmbh", False, None)
    assert re.fullmatch(r"org_[0-9A-Za-z]{22}", acme.id)
    assert [(user.id, membership.role) for membership, user in list_memberships(work, acme.id)] == [(ada.id, "owner")]
    created, added = (
        last_audited(work, AuditEvent.ORGANIZATION_CREATED),
        last_audited(work, AuditEvent.MEMBERSHIP_ADDED),
    )
    assert (created.organization_id, created.details["slug"]) == (acme.id, "acme-gmbh")
    assert (added.organization_id, added.user_id) == (acme.id, ada.id)


def test_organization_has_no_members_when_an_operator_makes_it_for_nobody(work: UnitOfWork) -> None:
    assert list_memberships(work, create_organization(work, "Acme").id) == []


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Ünïön & Söhne", "union-sohne"),
        ("A" * 120, "a" * 50),
        ("a" * 49 + " b", "a" * 49),
        ("株式会社", "organization"),
        ("---", "organization"),
    ],
)
def test_slug_is_made_of_the_name_when_none_is_given(work: UnitOfWork, name: str, slug: str) -> None:
    assert create_organization(work, name).slug == slug


@pytest.mark.parametrize("name", ["New", "Organizations"])
def test_slug_is_never_a_word_of_our_own_paths(work: UnitOfWork, name: str) -> None:
    slug = create_organization(work, name).slug
    assert re.fullmatch(rf"{name.lower()}-[0-9a-z]{{6}}", slug)
    with pytest.raises(Invalid):
        create_organization(work, "Acme", slug=name.lower())


def test_slug_gets_an_ending_when_another_organization_has_it(work: UnitOfWork) -> None:
    for name in ("Acme", "a" * 60):
        first, second = create_organization(work, name), create_organization(work, name)
        assert second.slug.startswith(first.slug[:43].rstrip("-") + "-")
        assert len(second.slug) <= 50
    with pytest.raises(Conflict):
        create_organization(work, "Other", slug="acme")


@pytest.mark.parametrize("slug", ["", "Acme", "-acme", "acme-", "a b", "a_b", "ä", "a" * 51, "a\n", "org_x"])
def test_slug_is_refused_when_it_cannot_stand_in_a_url(work: UnitOfWork, slug: str) -> None:
    with pytest.raises(Invalid) as refusal:
        create_organization(work, "Acme", slug=slug)
    assert refusal.value.field == "slug"
    assert find_organization(work, slug) is None


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "two\nlines", "bell\a", "\ud800"])
def test_name_is_refused_when_it_cannot_be_shown(work: UnitOfWork, name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        create_organization(work, name)
    assert refusal.value.field == "name"


def test_organization_is_found_by_id_or_slug_and_by_nothing_else(work: UnitOfWork) -> None:
    acme, other = create_organization(work, "Acme"), create_organization(work, "Other")
    assert find_organization(work, acme.id) is find_organization(work, "acme") is acme
    assert [each.id for each in list_organizations(work)] == sorted([acme.id, other.id])
    for name in ("Acme", "nothing", "org_nothing", "", "\0"):
        assert find_organization(work, name) is None
        with pytest.raises(NotFound):
            get_organization(work, name)


def test_change_is_told_of_once_and_only_when_there_is_one(work: UnitOfWork) -> None:
    acme = create_organization(work, "Acme")
    create_organization(work, "Other")
    update_organization(work, acme, name="Acme", slug="acme")
    update_organization(work, acme)
    assert audited(work, AuditEvent.ORGANIZATION_UPDATED) == []
    update_organization(work, acme, name="Acme Inc", slug="acme-inc")
    (row,) = audited(work, AuditEvent.ORGANIZATION_UPDATED)
    assert (row.organization_id, row.details["changed"]) == (acme.id, ["name", "slug"])
    assert find_organization(work, "acme") is None
    assert find_organization(work, "acme-inc") is acme
    with pytest.raises(Conflict):
        update_organization(work, acme, slug="other")
    with pytest.raises(Invalid):
        update_organization(work, acme, name="")
    assert (acme.name, acme.slug) == ("Acme Inc", "acme-inc")


def test_organization_is_suspended_and_resumed_once_however_often_it_is_said(work: UnitOfWork) -> None:
    acme = create_organization(work, "Acme")
    for _ in range(2):
        suspend_organization(work, acme)
    assert acme.suspended_at == work.now
    for _ in range(2):
        resume_organization(work, acme)
    assert acme.suspended_at is None
    for event in (AuditEvent.ORGANIZATION_SUSPENDED, AuditEvent.ORGANIZATION_RESUMED):
        assert [row.organization_id for row in audited(work, event)] == [acme.id]


def test_what_is_remembered_is_forgotten_when_it_changes(gatepost: Gatepost) -> None:
    def remembered(organization: Organization) -> Organization | None:
        with gatepost.work() as work:
            return registered_organization(work, organization.id)

    with gatepost.work() as work:
        acme = create_organization(work, "Acme")
    first = remembered(acme)
    assert first is not None
    assert remembered(acme) is first
    with gatepost.work() as work:
        suspend_organization(work, get_organization(work, acme.id))
    changed = remembered(acme)
    assert changed is not None
    assert changed.suspended_at is not None
    with gatepost.work() as work:
        work.db.delete(get_organization(work, acme.id))
    assert remembered(acme) is None


def test_organization_that_is_gone_cannot_be_held(work: UnitOfWork) -> None:
    acme = create_organization(work, "Acme")
    work.db.delete(acme)
    with pytest.raises(NotFound):
        lock_organization(work, acme.id)


@pytest.mark.postgres
def test_rules_hold_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    gatepost = Gatepost(tmp_path, database_url=postgres_url)
    with gatepost.work() as work:
        owner = make_user(work)
        acme = create_organization(work, "Acme", owner=owner)
        update_organization(work, acme, slug="acme-inc")
        suspend_organization(work, lock_organization(work, acme.id))
    with gatepost.work() as work:
        found = registered_organization(work, acme.id)
        assert found is not None
        assert (found.slug, found.suspended_at is not None) == ("acme-inc", True)
    gatepost.close()


@pytest.mark.parametrize("name", ["org_", "org_\0", "org_%00", "org_ä", "org_" + "x" * 100, "\0", "Acme", "a" * 100])
def test_organization_is_not_looked_for_when_the_name_is_none(gatepost: Gatepost, name: str) -> None:
    """PostgreSQL takes no NUL, and no statement is worth a text that names nothing."""
    sent: list[str] = []

    @events.listens_for(gatepost.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    with gatepost.work() as work:
        assert find_organization(work, name) is None
    events.remove(gatepost.engine, "before_cursor_execute", note)
    assert sent == []
