"""Refresh tokens: opaque, kept as digests, and over when idle or when their grant is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from server.domain.clients import Client
from server.domain.grants import Grant
from server.domain.refresh_rotation import refresh
from server.domain.refresh_tokens import RefreshToken, find_refresh_token
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import make_client, make_grant, make_refresh_token
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock


@pytest.fixture
def gatepost(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    return make_gatepost(refresh_token_idle_lifetime=100, refresh_token_lifetime=250)


@pytest.fixture
def work(gatepost: Gatepost) -> Iterator[UnitOfWork]:
    with gatepost.work() as work:
        yield work


@pytest.fixture
def client(work: UnitOfWork) -> Client:
    return make_client(work)


@pytest.fixture
def grant(work: UnitOfWork, client: Client) -> Grant:
    return make_grant(work, client)


def find(work: UnitOfWork, token: str) -> RefreshToken:
    known = find_refresh_token(work, token)
    assert known is not None
    return known.row


def successor_of(work: UnitOfWork, client: Client, token: str) -> str:
    refreshed = refresh(work, client, token, None)
    assert refreshed is not None
    assert refreshed.successor is not None
    return refreshed.successor


def test_token_belongs_to_its_grant_and_client_and_is_not_stored(work: UnitOfWork, grant: Grant) -> None:
    token = make_refresh_token(work, grant)
    row = find(work, token)
    assert token.startswith("rt_")
    assert len(token) == 46
    assert (row.grant_id, row.client_id, row.predecessor_id) == (grant.id, grant.client_id, None)
    assert (row.consumed_at, row.replay_scope) == (None, None)
    assert row.created_at == row.last_used_at == work.now
    assert token not in [str(getattr(row, column.name)) for column in RefreshToken.__table__.columns]


def test_token_is_found_with_its_grant_and_person(work: UnitOfWork, grant: Grant) -> None:
    known = find_refresh_token(work, make_refresh_token(work, grant))
    assert known is not None
    assert (known.grant.id, known.user.id) == (grant.id, grant.user_id)
    assert known.grant.scope_set == grant.scope_set


def test_successor_is_one_of_its_kind_and_names_the_token_it_replaced(
    work: UnitOfWork, client: Client, grant: Grant
) -> None:
    first = make_refresh_token(work, grant)
    second = successor_of(work, client, first)
    assert second.startswith("rt_")
    assert len(second) == 46
    assert find(work, second).predecessor_id == find(work, first).id


@pytest.mark.parametrize("token", ["", "rt_", "rt_unknown", "ac_unknown", "\0"])
def test_no_token_is_found_when_there_is_none(work: UnitOfWork, grant: Grant, token: str) -> None:
    make_refresh_token(work, grant)
    assert find_refresh_token(work, token) is None


def test_digest_is_no_token_when_it_is_presented(work: UnitOfWork, grant: Grant) -> None:
    row = find(work, make_refresh_token(work, grant))
    assert find_refresh_token(work, row.token_digest) is None
    assert find_refresh_token(work, "rt_" + row.token_digest) is None


@pytest.mark.spec("TK-11")
def test_token_expires_when_idle_and_never_after_its_grant(
    work: UnitOfWork, client: Client, grant: Grant, clock: FrozenClock
) -> None:
    started = work.now
    token = make_refresh_token(work, grant)
    assert find(work, token).expires_at == started + timedelta(seconds=100)
    clock.advance(90)
    token = successor_of(work, client, token)
    assert find(work, token).expires_at == started + timedelta(seconds=190)
    clock.advance(90)
    token = successor_of(work, client, token)
    assert find(work, token).expires_at == started + timedelta(seconds=250)
    clock.advance(70)
    assert refresh(work, client, token, None) is None


@pytest.mark.spec("TK-11")
def test_token_is_refused_when_it_lay_idle_to_the_second(
    work: UnitOfWork, client: Client, grant: Grant, clock: FrozenClock
) -> None:
    token = make_refresh_token(work, grant)
    clock.advance(100)
    assert refresh(work, client, token, None) is None


def test_use_extends_a_token_that_does_not_rotate_and_never_past_its_grant(
    work: UnitOfWork, clock: FrozenClock
) -> None:
    client = make_client(work, rotate_refresh_tokens=False)
    grant = make_grant(work, client)
    started = work.now
    token = make_refresh_token(work, grant)
    clock.advance(90)
    refreshed = refresh(work, client, token, None)
    assert refreshed is not None
    assert (refreshed.successor, refreshed.jti) == (None, None)
    row = find(work, token)
    assert (row.last_used_at, row.expires_at) == (work.now, started + timedelta(seconds=190))
    clock.advance(90)
    assert refresh(work, client, token, None)
    assert find(work, token).expires_at == started + timedelta(seconds=250)
