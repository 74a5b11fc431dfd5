"""Keys to look at: owners are warned 30, 7 and 1 days before the end, once each; the unused are listed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from server.domain.api_key_issuing import OPERATOR_MAKER, rotate_api_key
from server.domain.api_key_reports import keys_expiring_soon, keys_unused, warn_of_expiring_keys
from server.domain.api_key_verification import verify_api_key
from server.domain.api_keys import ApiKey, revoke_api_key
from server.domain.audit_events import AuditEvent
from server.domain.organizations import Organization, create_organization
from server.domain.outgoing_mail import OutgoingMail
from server.domain.unit_of_work import UnitOfWork
from server.domain.usage_writing import flush_usage
from server.domain.users import disable_user, get_user
from tests.domain.api_key_factories import any_gatepost, make_api_key, make_member, maker_of
from tests.domain.factories import audited, last_audited, make_user
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock
from tests.support.deployment import GatepostMaker

__all__ = ["any_gatepost"]

DAY = timedelta(days=1)


@pytest.fixture
def organization(work: UnitOfWork) -> Organization:
    return create_organization(work, "Acme")


def ids(keys: object) -> list[str]:
    assert isinstance(keys, list)
    return [key.id for key in keys]


def warned(work: UnitOfWork) -> list[int]:
    return [row.details["days"] for row in audited(work, AuditEvent.API_KEY_EXPIRING)]


@pytest.mark.spec("K-16")
def test_owner_is_warned_thirty_seven_and_one_day_before_the_end(
    work: UnitOfWork, organization: Organization, clock: FrozenClock
) -> None:
    key, _ = make_api_key(work, organization, expires_at=work.now + 90 * DAY)
    told: dict[float, list[int]] = {}
    for _ in range(92 * 4):
        before = len(warned(work))
        warn_of_expiring_keys(work)
        if warned(work)[before:]:
            assert key.expires_at is not None
            told[(key.expires_at - work.now) / DAY] = warned(work)[before:]
        clock.advance(6 * 3600)
    assert told == {30: [30], 7: [7], 1: [1]}
    row = last_audited(work, AuditEvent.API_KEY_EXPIRING)
    assert (row.details["key_id"], row.organization_id) == (key.id, organization.id)


@pytest.mark.spec("K-16")
def test_key_made_for_a_short_time_is_warned_of_by_what_is_left(
    work: UnitOfWork, organization: Organization, clock: FrozenClock
) -> None:
    make_api_key(work, organization, expires_at=work.now + 5 * DAY)
    assert [warn_of_expiring_keys(work) for _ in range(2)] == [1, 0]
    clock.advance(4 * 86400)
    assert warn_of_expiring_keys(work) == 1
    assert warned(work) == [7, 1]


def test_nobody_is_warned_of_keys_that_are_over_or_replaced(
    work: UnitOfWork, organization: Organization, clock: FrozenClock
) -> None:
    replaced, _ = make_api_key(work, organization, expires_at=work.now + 2 * DAY)
    rotate_api_key(work, replaced, 86400, OPERATOR_MAKER)
    audited_before = warned(work)
    revoked, _ = make_api_key(work, organization, expires_at=work.now + DAY)
    revoke_api_key(work, revoked, "lost")
    expired, _ = make_api_key(work, organization, expires_at=work.now + timedelta(seconds=1))
    make_api_key(work, organization, never_expires=True)
    clock.advance(1)
    warn_of_expiring_keys(work)
    keys = [row.details["key_id"] for row in audited(work, AuditEvent.API_KEY_EXPIRING)]
    assert audited_before == []
    assert not {replaced.id, revoked.id, expired.id} & set(keys)


def test_warnings_come_in_parts(work: UnitOfWork, organization: Organization) -> None:
    for _ in range(5):
        make_api_key(work, organization, expires_at=work.now + DAY)
    assert [warn_of_expiring_keys(work, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_key_is_warned_of_once_when_processes_find_it_at_once(any_gatepost: Gatepost) -> None:
    with any_gatepost.work() as work:
        organization = create_organization(work, "Acme")
        for _ in range(3):
            make_api_key(work, organization, expires_at=work.now + DAY)

    def warn(_: int) -> int:
        with any_gatepost.work() as work:
            return warn_of_expiring_keys(work)

    with ThreadPoolExecutor(6) as executor:
        assert sum(executor.map(warn, range(6))) == 3
    with any_gatepost.work() as work:
        assert warned(work) == [1, 1, 1]


def test_warning_is_mailed_to_the_owner_or_to_those_of_the_organization(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(smtp_url="smtp://mail.example")
    with gatepost.work() as work:
        organization = create_organization(work, "Acme", owner=make_user(work, "owner@example.com"))
        user = make_member(work, organization)
        make_api_key(work, organization, maker_of(work, organization, user), expires_at=work.now + DAY)
        warn_of_expiring_keys(work)
        assert work.db.scalars(select(OutgoingMail.recipient)).all() == [user.email]
        make_api_key(work, organization, expires_at=work.now + DAY)
        warn_of_expiring_keys(work)
        assert work.db.scalars(select(OutgoingMail.recipient).order_by(OutgoingMail.id)).all() == [
            user.email,
            "owner@example.com",
        ]
        disable_user(work, get_user(work, "owner@example.com"))
        make_api_key(work, organization, expires_at=work.now + DAY)
        warn_of_expiring_keys(work)
        assert len(work.db.scalars(select(OutgoingMail.recipient)).all()) == 2


@pytest.mark.spec("K-16")
def test_keys_that_end_soon_are_listed_the_next_first(work: UnitOfWork, organization: Organization) -> None:
    later, _ = make_api_key(work, organization, expires_at=work.now + 30 * DAY)
    sooner, _ = make_api_key(work, organization, expires_at=work.now + DAY)
    make_api_key(work, organization, expires_at=work.now + 31 * DAY)
    make_api_key(work, organization, expires_at=work.now + DAY, environment="test")
    make_api_key(work, create_organization(work, "Other"), expires_at=work.now + DAY)
    replaced, _ = make_api_key(work, organization, expires_at=work.now + DAY)
    successor, _ = rotate_api_key(work, replaced, 60, OPERATOR_MAKER)
    revoke_api_key(work, successor, "lost")
    assert ids(keys_expiring_soon(work, organization.id, "live")) == [sooner.id, later.id]
    assert ids(keys_expiring_soon(work, organization.id, "live", days=7)) == [sooner.id]


@pytest.mark.spec("K-16")
def test_keys_that_nobody_used_for_ninety_days_are_listed(
    work: UnitOfWork, organization: Organization, clock: FrozenClock
) -> None:
    never, _ = make_api_key(work, organization, never_expires=True)
    used, text = make_api_key(work, organization, never_expires=True)
    clock.advance(90 * 86400 - 1)
    assert ids(keys_unused(work, organization.id, "live")) == []
    clock.advance(1)
    verify_api_key(work, text)
    flush_usage(work)
    fresh, _ = make_api_key(work, organization, never_expires=True)
    assert ids(keys_unused(work, organization.id, "live")) == [never.id]
    clock.advance(90 * 86400)
    assert set(ids(keys_unused(work, organization.id, "live"))) == {never.id, used.id, fresh.id}
    assert set(ids(keys_unused(work, organization.id, "live", days=180))) == {never.id}
    assert ids(keys_unused(work, organization.id, "test")) == []


def test_key_without_owner_is_warned_of_without_mail_server(work: UnitOfWork, organization: Organization) -> None:
    make_api_key(work, organization, expires_at=work.now + DAY)
    assert warn_of_expiring_keys(work) == 1
    assert work.db.scalars(select(OutgoingMail.id)).all() == []
    assert work.db.scalars(select(ApiKey.warned_days)).all() == [1]
