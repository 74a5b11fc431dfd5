"""Refresh tokens: opaque, kept as digests, and over when idle or when their grant is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from server.domain.refresh_tokens import (
    RefreshToken,
    find_refresh_token,
    issue_refresh_token,
    touch_refresh_token,
)
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import make_grant
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock


@pytest.fixture
def gatepost(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    return make_gatepost(refresh_token_idle_lifetime=100, refresh_token_lifetime=250)


@pytest.fixture
def work(gatepost: Gatepost) -> Iterator[UnitOfWork]:
    with gatepost.work() as work:
        yield work


def find(work: UnitOfWork, token: str) -> RefreshToken:
    row = find_refresh_token(work, token)
    assert row is not None
    return row


def test_token_belongs_to_its_grant_and_client_and_is_not_stored(work: UnitOfWork) -> None:
    grant = make_grant(work)
    token = issue_refresh_token(work, grant)
    row = find(work, token)
    assert token.startswith("rt_")
    assert len(token) == 46
    assert (row.grant_id, row.client_id, row.predecessor_id) == (grant.id, grant.client_id, None)
    assert (row.consumed_at, row.replay, row.replay_scope) == (None, None, None)
    assert token not in [str(getattr(row, column.name)) for column in RefreshToken.__table__.columns]


def test_successor_names_the_token_it_replaced(work: UnitOfWork) -> None:
    grant = make_grant(work)
    first = find(work, issue_refresh_token(work, grant))
    assert find(work, issue_refresh_token(work, grant, predecessor=first)).predecessor_id == first.id


@pytest.mark.parametrize("token", ["", "rt_", "rt_unknown", "ac_unknown", "\0"])
def test_no_token_is_found_when_there_is_none(work: UnitOfWork, token: str) -> None:
    issue_refresh_token(work, make_grant(work))
    assert find_refresh_token(work, token) is None


def test_digest_is_no_token_when_it_is_presented(work: UnitOfWork) -> None:
    row = find(work, issue_refresh_token(work, make_grant(work)))
    assert find_refresh_token(work, row.token_digest) is None
    assert find_refresh_token(work, "rt_" + row.token_digest) is None


def test_token_expires_when_idle_and_never_after_its_grant(work: UnitOfWork, clock: FrozenClock) -> None:
    grant = make_grant(work)
    started = work.now
    assert find(work, issue_refresh_token(work, grant)).expires_at == started + timedelta(seconds=100)
    clock.advance(200)
    assert find(work, issue_refresh_token(work, grant)).expires_at == started + timedelta(seconds=250)


def test_use_extends_a_token_that_does_not_rotate_and_never_past_its_grant(
    work: UnitOfWork, clock: FrozenClock
) -> None:
    grant = make_grant(work)
    started = work.now
    row = find(work, issue_refresh_token(work, grant))
    clock.advance(90)
    touch_refresh_token(work, row, grant)
    assert (row.last_used_at, row.expires_at) == (work.now, started + timedelta(seconds=190))
    clock.advance(90)
    touch_refresh_token(work, row, grant)
    assert row.expires_at == started + timedelta(seconds=250)


def test_token_is_read_as_the_database_has_it_now(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        token = issue_refresh_token(work, make_grant(work))
        row = find(work, token)
        work.db.connection().exec_driver_sql("UPDATE refresh_tokens SET replay = 'elsewhere'")
        assert row.replay is None
        assert find(work, token) is row
        assert row.replay == "elsewhere"
