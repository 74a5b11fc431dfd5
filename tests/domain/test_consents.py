"""Consents: what a person allowed a client adds up, and is theirs and that client's alone."""

from __future__ import annotations

import pytest

from server.domain.audit_events import AuditEvent
from server.domain.clients import Client
from server.domain.consents import find_consent, give_consent, remembered_scopes
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from tests.domain.factories import audited, make_client, make_user
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock


@pytest.fixture
def user(work: UnitOfWork) -> User:
    return make_user(work)


@pytest.fixture
def client(work: UnitOfWork) -> Client:
    return make_client(work)


def test_nothing_is_remembered_when_nothing_was_allowed(work: UnitOfWork, user: User, client: Client) -> None:
    assert find_consent(work, user.id, client.id) is None
    assert remembered_scopes(work, user.id, client.id) == frozenset()


def test_scopes_add_up_when_more_is_allowed_later(
    work: UnitOfWork, user: User, client: Client, clock: FrozenClock
) -> None:
    first = work.now
    give_consent(work, user.id, client.id, frozenset({"openid", "email"}))
    clock.advance(100)
    give_consent(work, user.id, client.id, frozenset({"openid", "phone"}))
    assert remembered_scopes(work, user.id, client.id) == {"openid", "email", "phone"}
    consent = find_consent(work, user.id, client.id)
    assert consent is not None
    assert consent.scopes == ["email", "openid", "phone"]
    assert (consent.created_at, consent.updated_at) == (first, work.now)


def test_consent_is_one_persons_and_one_clients(work: UnitOfWork, user: User, client: Client) -> None:
    other, another = make_user(work, "alan@example.com"), make_client(work)
    give_consent(work, user.id, client.id, frozenset({"openid"}))
    assert remembered_scopes(work, other.id, client.id) == frozenset()
    assert remembered_scopes(work, user.id, another.id) == frozenset()


def test_each_consent_is_audited_with_what_was_allowed_then(work: UnitOfWork, user: User, client: Client) -> None:
    give_consent(work, user.id, client.id, frozenset({"openid", "email"}))
    give_consent(work, user.id, client.id, frozenset({"phone"}))
    rows = audited(work, AuditEvent.CONSENT_GIVEN)
    assert [(row.user_id, row.client_id) for row in rows] == [(user.id, client.id)] * 2
    assert [row.details for row in rows] == [{"scopes": ["email", "openid"]}, {"scopes": ["phone"]}]


def test_consent_lasts_when_the_transaction_is_over(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        user, client = make_user(work), make_client(work)
        give_consent(work, user.id, client.id, frozenset({"openid"}))
    with gatepost.work() as work:
        give_consent(work, user.id, client.id, frozenset({"email"}))
    with gatepost.work() as work:
        assert remembered_scopes(work, user.id, client.id) == {"openid", "email"}


def test_pages_answered_at_once_add_up_instead_of_overwriting_each_other(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        user, client = make_user(work), make_client(work)
        give_consent(work, user.id, client.id, frozenset({"openid"}))
        consent = find_consent(work, user.id, client.id)
        assert consent is not None
    with gatepost.work() as work:
        give_consent(work, user.id, client.id, frozenset({"email"}))
    with gatepost.work() as work:
        # As a request sees it that read the row before the other one wrote.
        stale = work.db.merge(consent, load=False)
        assert stale.scopes == ["openid"]
        give_consent(work, user.id, client.id, frozenset({"phone"}))
        assert remembered_scopes(work, user.id, client.id) == {"openid", "email", "phone"}
