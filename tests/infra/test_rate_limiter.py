"""Attempts counted in Redis and in this process: exact, shared, and never unlimited when Redis is away."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.config import ConfigurationError, Settings
from server.domain.policy.lockout import Budget
from server.infra import rate_limiter
from server.infra.rate_limiter import (
    AttemptStore,
    FallbackStore,
    ProcessStore,
    RedisStore,
    StoreAway,
    open_rate_limits,
)
from tests.support.clock import FrozenClock
from tests.support.redis import RedisServer, redis_server

ACCOUNT = Budget("account:one", attempts=3, seconds=600, tier=1)
SLOW = Budget("account:one:anywhere", attempts=3, seconds=3600, tier=1)
SHARED = Budget("everybody", attempts=4, seconds=60, tier=2)
NETWORK = Budget("network:192.0.2.7", attempts=5, seconds=3600)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture(params=["process", pytest.param("redis", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest) -> AttemptStore:
    if request.param == "redis":
        return RedisStore(request.getfixturevalue("redis").url, timeout=5)
    return ProcessStore(1)


def spend(store: AttemptStore, clock: FrozenClock, *budgets: Budget, times: int = 1) -> int:
    waits = [store.spend(budgets or (ACCOUNT,), clock.now()) for _ in range(times)]
    return waits[-1]


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


def about(seconds: int) -> range:
    """Redis keeps its own time: what it says is less by as long as the attempts took."""
    return range(seconds - 10, seconds + 1)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_attempts_within_the_budget_pass_and_the_next_waits(store: AttemptStore, clock: FrozenClock) -> None:
    assert spend(store, clock, times=3) == 0
    assert spend(store, clock) in about(600)


def test_attempt_counts_in_every_budget_and_the_longest_wait_is_told(store: AttemptStore, clock: FrozenClock) -> None:
    assert spend(store, clock, NETWORK, ACCOUNT, SLOW, times=3) == 0
    assert spend(store, clock, NETWORK, ACCOUNT, SLOW) in about(3600)
    assert spend(store, clock, NETWORK, times=1) == 0
    assert spend(store, clock, NETWORK) in about(3600)


def test_network_alone_counts_when_it_is_used_up(store: AttemptStore, clock: FrozenClock) -> None:
    spend(store, clock, NETWORK, times=5)
    assert spend(store, clock, NETWORK, ACCOUNT, times=5) in about(3600)
    assert spend(store, clock, ACCOUNT, times=3) == 0


@pytest.mark.spec("B-04")
def test_guess_that_is_not_looked_at_uses_up_nothing_that_others_share(store: AttemptStore, clock: FrozenClock) -> None:
    assert spend(store, clock, NETWORK, ACCOUNT, SHARED, times=5) in about(600)
    assert spend(store, clock, SHARED) == 0
    assert spend(store, clock, SHARED) in about(60)


@pytest.mark.spec("B-06")
def test_account_is_forgiven_and_the_network_gets_one_back(store: AttemptStore, clock: FrozenClock) -> None:
    spend(store, clock, NETWORK, ACCOUNT, times=3)
    store.give_back((NETWORK, ACCOUNT), clock.now())
    assert spend(store, clock, ACCOUNT, times=3) == 0
    assert spend(store, clock, NETWORK, times=3) == 0
    assert spend(store, clock, NETWORK) > 0


def test_nothing_is_made_when_there_is_nothing_to_give_back(store: AttemptStore, clock: FrozenClock) -> None:
    for _ in range(3):
        store.give_back((NETWORK, ACCOUNT), clock.now())
    assert spend(store, clock, NETWORK, times=5) == 0
    assert spend(store, clock, NETWORK) > 0


@pytest.mark.spec("B-02")
def test_every_attempt_counts_when_many_arrive_at_once(store: AttemptStore, clock: FrozenClock) -> None:
    waits: list[int] = []
    gate = threading.Barrier(16)

    def guess() -> None:
        gate.wait()
        waits.extend(store.spend((NETWORK, ACCOUNT), clock.now()) for _ in range(5))

    threads = [threading.Thread(target=guess) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(waits), waits.count(0)) == (80, 3)


# ---------------------------------------------------------------------------------------------------------- in Redis


@pytest.mark.slow
def test_window_ends_by_itself_in_redis(redis: RedisServer, clock: FrozenClock) -> None:
    store, brief = RedisStore(redis.url, timeout=5), Budget("account:one", 1, 2)
    assert spend(store, clock, brief) == 0
    assert spend(store, clock, brief) in {1, 2}
    # Asking does not make it longer.
    until(lambda: spend(store, clock, brief) == 0)


@pytest.mark.slow
def test_two_processes_share_what_redis_counts(redis: RedisServer, clock: FrozenClock) -> None:
    one, other = RedisStore(redis.url, timeout=5), RedisStore(redis.url, timeout=5)
    assert [spend(one, clock), spend(other, clock), spend(one, clock)] == [0, 0, 0]
    assert spend(other, clock) > 0


# --------------------------------------------------------------------------------------------------- in this process


def test_window_begins_anew_and_is_never_prolonged_in_a_process(clock: FrozenClock) -> None:
    store = ProcessStore(1)
    spend(store, clock, times=3)
    clock.advance(599)
    assert spend(store, clock) == 1
    clock.advance(1)
    assert spend(store, clock, times=3) == 0
    assert spend(store, clock) == 600


@pytest.mark.spec("R-17")
@pytest.mark.parametrize(("processes", "allowed"), [(1, 9), (2, 4), (4, 2), (100, 1)])
def test_process_has_its_share_of_each_budget_and_at_least_one(
    clock: FrozenClock, processes: int, allowed: int
) -> None:
    store, budget = ProcessStore(processes), Budget("account:one", 9, 600)
    assert [spend(store, clock, budget) for _ in range(10)].count(0) == allowed


def test_memory_is_bounded_and_what_ends_last_is_kept(clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limiter, "MAXIMUM_BUCKETS", 100)
    store = ProcessStore(1)
    spend(store, clock, SLOW, times=3)
    for number in range(500):
        spend(store, clock, Budget(f"account:{number}", 3, 600))
        assert len(store._spent) <= 101
    assert spend(store, clock, SLOW) == 3600
    clock.advance(601)
    spend(store, clock, *(Budget(f"account:late {number}", 3, 600) for number in range(100)))
    assert len(store._spent) <= 101


# ------------------------------------------------------------------------------------------------- when Redis is away


class Store(ProcessStore):
    """Counts, unless it is told to be away."""

    def __init__(self) -> None:
        super().__init__(1)
        self.is_here, self.asked = True, 0

    def spend(self, budgets: object, now: object) -> int:
        self._answer()
        return super().spend(budgets, now)  # type: ignore[arg-type]

    def give_back(self, budgets: object, now: object) -> None:
        self._answer()
        super().give_back(budgets, now)  # type: ignore[arg-type]

    def _answer(self) -> None:
        self.asked += 1
        if not self.is_here:
            raise StoreAway("ConnectionError")


@pytest.mark.spec("R-17")
@pytest.mark.spec("B-08")
def test_process_counts_with_its_share_and_says_so_once_when_the_store_is_away(
    clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    store, budget = Store(), Budget("account:one", 6, 600)
    limiter = FallbackStore(store, ProcessStore(2))
    store.is_here = False
    with caplog.at_level(logging.WARNING):
        assert [spend(limiter, clock, budget) for _ in range(20)].count(0) == 3
        limiter.give_back((budget,), clock.now())
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert (limiter.is_away, limiter.outages) == (True, 1)


@pytest.mark.spec("R-17")
def test_store_is_left_alone_for_a_second_and_used_again_when_it_answers(
    clock: FrozenClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    store = Store()
    limiter = FallbackStore(store, ProcessStore(1))
    store.is_here = False
    spend(limiter, clock, times=3)
    assert store.asked == 1
    moment = 1.0
    spend(limiter, clock)
    assert store.asked == 2
    store.is_here, moment = True, 2.0
    with caplog.at_level(logging.WARNING):
        assert spend(limiter, clock, times=3) == 0
    assert spend(limiter, clock) > 0
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert (limiter.is_away, limiter.outages) == (False, 1)


def test_success_is_given_back_in_both_places(clock: FrozenClock) -> None:
    store, own = Store(), ProcessStore(1)
    limiter = FallbackStore(store, own)
    spend(limiter, clock, times=3)
    spend(own, clock, times=3)
    limiter.give_back((ACCOUNT,), clock.now())
    assert spend(limiter, clock, times=3) == 0
    assert spend(own, clock, times=3) == 0


def test_outage_during_a_give_back_is_noticed(clock: FrozenClock) -> None:
    store = Store()
    limiter = FallbackStore(store, ProcessStore(1))
    store.is_here = False
    limiter.give_back((ACCOUNT,), clock.now())
    assert limiter.is_away


@pytest.mark.slow
@pytest.mark.spec("R-17")
@pytest.mark.parametrize("fault", ["stop", "freeze"])
def test_sign_in_is_limited_and_not_held_up_when_redis_is_away(
    redis: RedisServer, clock: FrozenClock, fault: str
) -> None:
    limits = open_rate_limits(
        Settings(_env_file=None, rate_limit_redis_url=redis.url, rate_limit_processes=1, environment="development")
    )
    store = limits.store
    assert store is not None

    def is_back() -> bool:
        spend(store, clock, NETWORK)
        return not limits.is_store_away

    # On a busy machine the first connection may take longer than Redis is waited for.
    until(is_back)
    outages = limits.outages
    getattr(redis, fault)()
    began = time.monotonic()
    assert [spend(store, clock) for _ in range(100)].count(0) == 3
    # Were each of them to wait for Redis, it would be 25.
    assert time.monotonic() - began < 15
    assert (limits.is_store_away, limits.outages) == (True, outages + 1)
    redis.thaw() if fault == "freeze" else redis.start()
    until(is_back)


# ------------------------------------------------------------------------------------------------------------ settings


def test_database_counts_by_default() -> None:
    limits = open_rate_limits(Settings(_env_file=None))
    assert (limits.store, limits.is_store_away, limits.outages) == (None, False, 0)


def test_settings_name_the_store_and_the_share(tmp_path: Path) -> None:
    limits = open_rate_limits(Settings(_env_file=None, rate_limit_redis_url="redis://127.0.0.1:1/0", workers=3))
    assert isinstance(limits.store, FallbackStore)
    assert limits.store._own._processes == 3


@pytest.mark.parametrize("address", ["nonsense", "http://127.0.0.1:6379"])
def test_address_is_refused_when_it_is_none_of_redis(address: str) -> None:
    with pytest.raises(ConfigurationError, match="redis://"):
        open_rate_limits(Settings(_env_file=None, rate_limit_redis_url=address))


def test_missing_driver_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ConfigurationError, match=r"gatepost\[redis\]"):
        open_rate_limits(Settings(_env_file=None, rate_limit_redis_url="redis://127.0.0.1:1/0"))
