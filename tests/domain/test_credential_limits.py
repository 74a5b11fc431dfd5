"""Requests of a credential in a minute: the count is exact, and nobody pays for it who has no limit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, select

from server.config import Settings
from server.domain.actor import Actor
from server.domain.credential_limits import CredentialLimit, spend_request
from server.domain.errors import TooMany
from server.domain.unit_of_work import UnitOfWork
from server.infra.autocommit import Autocommit
from server.infra.database import open_session
from server.infra.migrations import upgrade
from server.infra.rate_limiter import RateLimits
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock
from tests.support.statements import noted_statements


@pytest.fixture
def work(gatepost: Gatepost, database_url: str) -> Iterator[UnitOfWork]:
    settings = Settings(_env_file=None, database_url=database_url)
    upgrade(settings)
    autocommit = Autocommit(settings)
    runtime = replace(gatepost.runtime, settings=settings, limits=RateLimits(), autocommit=autocommit)
    with open_session(settings) as db:
        db.execute(delete(CredentialLimit))
        db.commit()
        yield UnitOfWork.begin(runtime, db, Actor("anonymous", None, "192.0.2.7"))
    autocommit.dispose()


@pytest.fixture
def clock(gatepost: Gatepost) -> FrozenClock:
    return gatepost.clock


def other_worker(work: UnitOfWork) -> UnitOfWork:
    """The same deployment with a memory of its own."""
    return replace(work, runtime=replace(work.runtime, limits=RateLimits()))


def passed(work: UnitOfWork, times: int, limit: int = 3) -> int:
    count = 0
    for _ in range(times):
        try:
            spend_request(work, "key_a", limit)
        except TooMany:
            continue
        count += 1
    return count


@pytest.mark.spec("K-15")
def test_limit_counts_down_and_refuses_when_nothing_is_left(work: UnitOfWork, clock: FrozenClock) -> None:
    left = [spend_request(work, "key_a", 3) for _ in range(3)]
    assert [each and (each.limit, each.remaining, each.resets_in) for each in left] == [
        (3, 2, 60),
        (3, 1, 60),
        (3, 0, 60),
    ]
    clock.advance(20)
    with pytest.raises(TooMany) as refused:
        spend_request(work, "key_a", 3)
    assert refused.value.retry_after == 40
    assert spend_request(work, "key_b", 3) is not None


@pytest.mark.spec("K-15")
def test_limit_begins_anew_when_the_minute_is_over(work: UnitOfWork, clock: FrozenClock) -> None:
    assert passed(work, 9) == 3
    clock.advance(59)
    assert passed(work, 9) == 0
    clock.advance(1)
    assert passed(work, 9) == 3


@pytest.mark.spec("K-15")
def test_limit_is_one_for_all_workers(work: UnitOfWork) -> None:
    workers = [work, other_worker(work), other_worker(work)]
    assert sum(passed(worker, 3, limit=7) for worker in workers) == 7


@pytest.mark.spec("K-15")
def test_limit_is_exact_when_requests_come_at_once(work: UnitOfWork) -> None:
    workers = [other_worker(work) for _ in range(5)]
    with ThreadPoolExecutor(50) as pool:
        counts = pool.map(lambda number: passed(workers[number % 5], 1, limit=20), range(50))
        assert sum(counts) == 20


def test_raised_limit_counts_at_once(work: UnitOfWork) -> None:
    assert passed(work, 5) == 3
    assert passed(work, 9, limit=5) == 5


@pytest.mark.spec("K-15")
def test_key_without_a_limit_costs_no_statement_and_one_that_is_used_up_none_either(work: UnitOfWork) -> None:
    passed(work, 4)
    with noted_statements([work.runtime.autocommit.engine]) as statements:
        assert spend_request(work, "key_a", None) is None
        assert passed(work, 10) == 0
    assert [each for each in statements if not each.startswith(("BEGIN", "COMMIT", "PRAGMA"))] == []


def test_count_stands_when_the_request_is_rolled_back(work: UnitOfWork) -> None:
    work.db.execute(select(CredentialLimit))
    assert work.is_in_transaction
    spend_request(work, "key_a", 3)
    work.db.rollback()
    assert passed(work, 9) == 2


class Store:
    """A store that allows so many."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed

    def spend(self, budgets: Any, _now: object) -> int:
        assert [(budget.attempts, budget.seconds) for budget in budgets] == [(3, 60)]
        self.allowed -= 1
        return 0 if self.allowed >= 0 else 25

    def give_back(self, *_: object) -> None:
        raise AssertionError


def test_other_store_counts_when_the_deployment_has_one(work: UnitOfWork) -> None:
    elsewhere = replace(work, runtime=replace(work.runtime, limits=RateLimits(Store(3))))
    assert passed(elsewhere, 3) == 3
    with pytest.raises(TooMany) as refused:
        spend_request(elsewhere, "key_a", 3)
    assert refused.value.retry_after == 25
    assert work.db.scalars(select(CredentialLimit)).all() == []
