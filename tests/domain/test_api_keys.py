"""API keys: found where they belong, revoked once, in bulk at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.domain.api_key_verification import KeyRefused, verify_api_key
from server.domain.api_keys import (
    ApiKey,
    find_api_key,
    get_api_key,
    list_api_keys,
    page_api_keys,
    revoke_api_key,
    revoke_api_keys,
    revoke_keys_of_owner,
)
from server.domain.audit_events import AuditEvent
from server.domain.errors import NotFound
from server.domain.memberships import add_member
from server.domain.organizations import Organization, create_organization
from server.domain.unit_of_work import UnitOfWork
from tests.domain.api_key_factories import any_gatepost, make_api_key, make_member, maker_of
from tests.domain.factories import audited, last_audited
from tests.properties.api_keys import revoke_many
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

__all__ = ["any_gatepost"]


@pytest.fixture
def organization(work: UnitOfWork) -> Organization:
    return create_organization(work, "Acme")


@pytest.mark.spec("K-10")
def test_key_is_found_in_its_organization_and_environment_alone(work: UnitOfWork, organization: Organization) -> None:
    other = create_organization(work, "Other")
    key, _ = make_api_key(work, organization, environment="test")
    assert get_api_key(work, organization.id, "test", key.id) is key
    assert list_api_keys(work, organization.id, "test") == [key]
    for organization_id, environment in ((organization.id, "live"), (other.id, "test"), (other.id, "live")):
        assert find_api_key(work, organization_id, environment, key.id) is None
        assert list_api_keys(work, organization_id, environment) == []
        with pytest.raises(NotFound):
            get_api_key(work, organization_id, environment, key.id)


def test_keys_are_listed_newest_first(work: UnitOfWork, organization: Organization, clock: FrozenClock) -> None:
    made = []
    for _ in range(3):
        made.append(make_api_key(work, organization)[0])
        clock.advance(1)
    assert list_api_keys(work, organization.id, "live") == made[::-1]


def test_keys_come_page_by_page_oldest_first(work: UnitOfWork, organization: Organization, clock: FrozenClock) -> None:
    for number in range(7):
        make_api_key(work, organization, environment="live" if number != 3 else "test")
        clock.advance(number % 2)
    found: list[ApiKey] = []
    while page := page_api_keys(
        work, organization.id, "live", after=(found[-1].created_at, found[-1].id) if found else None, limit=2
    ):
        assert len(page) <= 2
        found += page
    expected = list_api_keys(work, organization.id, "live")
    assert found == sorted(expected, key=lambda key: (key.created_at, key.id))
    assert len(found) == 6


def test_key_is_revoked_once_however_often_it_is_said(work: UnitOfWork, organization: Organization) -> None:
    key, key_text = make_api_key(work, organization)
    revoke_api_key(work, key, "lost")
    revoke_api_key(work, key, "lost again")
    assert (key.revoked_at, key.revoked_reason) == (work.now, "lost")
    with pytest.raises(KeyRefused):
        verify_api_key(work, key_text)
    (row,) = audited(work, AuditEvent.API_KEY_REVOKED)
    assert (row.organization_id, row.environment) == (organization.id, "live")
    assert (row.details["key_id"], row.details["reason"]) == (key.id, "lost")


@pytest.mark.spec("K-12")
def test_keys_of_one_owner_end_in_one_organization(work: UnitOfWork, organization: Organization) -> None:
    user, other = make_member(work, organization), create_organization(work, "Other")
    add_member(work, other, user, "owner")
    own = [make_api_key(work, organization, maker_of(work, organization, user))[0] for _ in range(2)]
    elsewhere, _ = make_api_key(work, other, maker_of(work, other, user))
    operators, _ = make_api_key(work, organization)
    assert revoke_keys_of_owner(work, organization.id, user.id, "owner_removed") == 2
    assert revoke_keys_of_owner(work, organization.id, user.id, "owner_removed") == 0
    assert [key.revoked_reason for key in (*own, elsewhere, operators)] == ["owner_removed"] * 2 + [None] * 2
    assert len(audited(work, AuditEvent.API_KEY_REVOKED)) == 2


@pytest.mark.spec("K-16")
def test_keys_that_fit_are_revoked_in_bulk_and_no_others(
    work: UnitOfWork, organization: Organization, clock: FrozenClock
) -> None:
    other = create_organization(work, "Other")
    old, _ = make_api_key(work, organization)
    clock.advance(60)
    live, _ = make_api_key(work, organization)
    test, _ = make_api_key(work, organization, environment="test")
    foreign, _ = make_api_key(work, other)
    keys = {"old": old, "live": live, "test": test, "foreign": foreign}

    def living() -> set[str]:
        return {name for name, key in keys.items() if key.revoked_at is None}

    begin = work.now - timedelta(seconds=30)
    assert revoke_api_keys(work, other.id, created_before=begin) == 0
    assert revoke_api_keys(work, organization.id, environment="live", created_after=begin) == 1
    assert living() == {"old", "test", "foreign"}
    assert revoke_api_keys(work, organization.id, prefix="gp_test_") == 1
    assert living() == {"old", "foreign"}
    assert revoke_api_keys(work, None, prefix=foreign.prefix + foreign.public_id) == 1
    assert revoke_api_keys(work, organization.id) == 1
    assert living() == set()
    assert revoke_api_keys(work, organization.id) == 0
    row = audited(work, AuditEvent.API_KEYS_REVOKED)[1]
    assert row.details == {
        "count": 1,
        "organization_id": organization.id,
        "environment": "live",
        "created_after": begin.isoformat(),
    }
    assert row.organization_id == organization.id


@pytest.mark.spec("K-16")
def test_prefix_of_a_bulk_revocation_means_itself_alone(work: UnitOfWork, organization: Organization) -> None:
    make_api_key(work, organization)
    assert revoke_api_keys(work, organization.id, prefix="gp%") == 0
    assert revoke_api_keys(work, organization.id, prefix="gp_live.") == 0


@pytest.mark.spec("K-16")
def test_many_keys_are_revoked_by_few_statements_and_one_audit_row(any_gatepost: Gatepost) -> None:
    """`python -m tests.properties keys` does it with a million, and tells how long it takes."""
    figures = revoke_many(any_gatepost, 20_000)
    # PostgreSQL ends a thousand by a statement, found by one; SQLite, where nobody else can write, all by one.
    assert figures["statements"] == (1 if any_gatepost.engine.dialect.name == "sqlite" else 21)
    with any_gatepost.work() as work:
        assert last_audited(work, AuditEvent.API_KEYS_REVOKED).details["count"] == 20_000
