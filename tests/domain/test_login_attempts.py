"""Login attempts: counted exactly, limited to the second, and given back to whoever proves to be the person."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import select

from server.config import Settings
from server.domain.actor import OPERATOR
from server.domain.errors import TooMany
from server.domain.login_attempts import LoginAttempts, give_back, spend_attempt
from server.domain.policy.lockout import Budget
from server.domain.unit_of_work import UnitOfWork
from server.infra.autocommit import Autocommit
from server.infra.database import open_session
from server.infra.migrations import upgrade
from server.infra.rate_limiter import RateLimits
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

BUDGET = Budget("account:one", attempts=3, seconds=600, tier=1)
OTHER = Budget("account:two", attempts=3, seconds=600, tier=1)
NETWORK = Budget("network:192.0.2.7", attempts=5, seconds=3600)


@pytest.fixture
def work(gatepost: Gatepost, database_url: str) -> Iterator[UnitOfWork]:
    """In a database of each kind: the statement that counts is written for both."""
    settings = Settings(_env_file=None, database_url=database_url)
    upgrade(settings)
    autocommit = Autocommit(settings)
    runtime = replace(gatepost.runtime, settings=settings, autocommit=autocommit)
    with open_session(settings) as db:
        yield UnitOfWork.begin(runtime, db, OPERATOR)
    autocommit.dispose()


def spend(work: UnitOfWork, *budgets: Budget, times: int = 1) -> None:
    for _ in range(times):
        spend_attempt(work, budgets or (BUDGET,))


def test_attempts_within_the_budget_pass(work: UnitOfWork) -> None:
    spend(work, times=3)
    assert work.db.get_one(LoginAttempts, "account:one").attempts == 3


def test_attempt_over_the_budget_is_refused_with_the_time_to_wait(work: UnitOfWork, clock: FrozenClock) -> None:
    spend(work)
    clock.advance(60)
    spend(work, times=2)
    with pytest.raises(TooMany) as caught:
        spend(work)
    assert caught.value.retry_after == 540
    clock.advance(539.9)
    with pytest.raises(TooMany) as caught:
        spend(work)
    assert caught.value.retry_after == 1


def test_window_begins_anew_to_the_second_and_is_never_prolonged(work: UnitOfWork, clock: FrozenClock) -> None:
    spend(work, times=3)
    clock.advance(599.999)
    with pytest.raises(TooMany):
        spend(work)
    clock.advance(0.001)
    spend(work, times=3)
    with pytest.raises(TooMany) as caught:
        spend(work)
    assert caught.value.retry_after == 600


def test_budgets_are_counted_apart(work: UnitOfWork) -> None:
    spend(work, times=3)
    spend(work, OTHER, times=3)
    with pytest.raises(TooMany):
        spend(work)


def test_attempt_counts_in_every_budget_and_the_longest_wait_is_told(work: UnitOfWork, clock: FrozenClock) -> None:
    slow = Budget("account:one:anywhere", attempts=3, seconds=3600, tier=1)
    spend(work, BUDGET, slow, NETWORK, times=3)
    clock.advance(100)
    with pytest.raises(TooMany) as caught:
        spend(work, BUDGET, slow, NETWORK)
    assert caught.value.retry_after == 3500
    assert work.db.get_one(LoginAttempts, "network:192.0.2.7").attempts == 4


@pytest.mark.spec("B-03")
def test_network_alone_counts_when_it_is_used_up(work: UnitOfWork, clock: FrozenClock) -> None:
    spend(work, NETWORK, times=5)
    clock.advance(100)
    with pytest.raises(TooMany) as caught:
        spend(work, BUDGET, NETWORK)
    assert caught.value.retry_after == 3500
    # Whoever invents addresses does not fill the table with them.
    assert work.db.get(LoginAttempts, "account:one") is None


@pytest.mark.spec("B-04")
def test_guess_that_is_not_looked_at_uses_up_nothing_that_others_share(work: UnitOfWork) -> None:
    anywhere, everybody = Budget("account:one:anywhere", 9, 600, tier=2), Budget("everybody", 9, 60, tier=2)
    spend(work, BUDGET, anywhere, everybody, NETWORK, times=3)
    for _ in range(5):
        with pytest.raises(TooMany):
            spend(work, BUDGET, anywhere, everybody, NETWORK)
    left = {row.bucket: row.attempts for row in work.db.scalars(select(LoginAttempts))}
    # The network is used up at last: then it alone counts.
    assert left == {"network:192.0.2.7": 8, "account:one": 5, "account:one:anywhere": 3, "everybody": 3}


@pytest.mark.spec("B-06")
def test_persons_own_attempts_are_forgiven_and_the_network_gets_one_back(work: UnitOfWork) -> None:
    device = Budget("device:one:browser", 3, 600, tier=1)
    spend(work, BUDGET, device, NETWORK, times=3)
    spend(work, OTHER)
    give_back(work, (BUDGET, device, NETWORK))
    work.db.expire_all()
    left = {row.bucket: row.attempts for row in work.db.scalars(select(LoginAttempts))}
    assert left == {"account:one": 0, "device:one:browser": 0, "account:two": 1, "network:192.0.2.7": 2}
    spend(work, BUDGET, device, times=3)


def test_nothing_happens_when_there_is_nothing_to_give_back(work: UnitOfWork) -> None:
    give_back(work, (BUDGET, NETWORK))
    spend(work, times=3)


@pytest.mark.spec("B-02")
def test_every_attempt_counts_when_many_arrive_at_once(gatepost: Gatepost) -> None:
    allowed: list[bool] = []
    gate = threading.Barrier(8)

    def guess() -> None:
        gate.wait()
        with gatepost.work() as work:
            try:
                spend_attempt(work, (BUDGET,))
            except TooMany:
                return
            allowed.append(True)

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(allowed) == 3


class Remembering:
    """A store beside the database."""

    def __init__(self, wait: int = 0) -> None:
        self.wait, self.seen = wait, []

    def spend(self, budgets: Sequence[Budget], now: datetime) -> int:
        self.seen.append(("spend", [budget.bucket for budget in budgets]))
        return self.wait

    def give_back(self, budgets: Sequence[Budget], now: datetime) -> None:
        self.seen.append(("give back", [budget.bucket for budget in budgets]))


def with_store(work: UnitOfWork, store: Remembering) -> UnitOfWork:
    return replace(work, runtime=replace(work.runtime, limits=RateLimits(store)))


def test_another_store_counts_when_there_is_one_and_the_database_does_not(work: UnitOfWork) -> None:
    store = Remembering()
    spend(with_store(work, store), BUDGET, NETWORK)
    give_back(with_store(work, store), (BUDGET, NETWORK))
    # By tier, whatever the order they came in.
    assert store.seen == [("spend", [NETWORK.bucket, BUDGET.bucket]), ("give back", [NETWORK.bucket, BUDGET.bucket])]
    assert work.db.scalars(select(LoginAttempts)).all() == []


def test_attempt_is_refused_when_another_store_says_so(work: UnitOfWork) -> None:
    with pytest.raises(TooMany) as caught:
        spend(with_store(work, Remembering(wait=42)))
    assert caught.value.retry_after == 42


def test_no_transaction_is_open_when_the_attempt_was_counted(work: UnitOfWork) -> None:
    for subject in (work, with_store(work, Remembering())):
        assert subject.db.scalars(select(LoginAttempts)).all() is not None
        spend(subject)
        assert not subject.is_in_transaction
