"""Counting attempts outside the database: in Redis, and in this process while Redis is away.

By default the database counts (`domain/login_attempts.py`); Redis is for deployments with many sign-ins a second. Each
counts exactly, over all that happens at once. Redis away or slow is no outage of sign-in: this process counts for
itself, with its share of each budget, until Redis answers again.
"""

from __future__ import annotations

import heapq
import importlib
import logging
import math
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from server.config import ConfigurationError, Settings
from server.infra.cores import usable_cores

log = logging.getLogger(__name__)

REDIS_TIMEOUT_SECONDS: Final = 0.25
#: After a failure Redis is left alone for so long, so that an outage costs one timeout a second and not one a sign-in.
RETRY_SECONDS: Final = 1.0
MAXIMUM_BUCKETS: Final = 20_000
#: More than this are not remembered as refused; they are counted all the same.
MAXIMUM_REFUSED: Final = 10_000
#: One prefix with braces keeps all keys on one node of a cluster, as a script needs them.
_PREFIX: Final = "{gatepost}:attempts:"


class Budget(Protocol):
    """So many attempts in so many seconds, counted under `bucket`."""

    @property
    def bucket(self) -> str:
        """What the attempts are counted under."""

    @property
    def attempts(self) -> int:
        """How many are allowed."""

    @property
    def seconds(self) -> int:
        """In how long a time."""

    @property
    def tier(self) -> int:
        """It is counted only while those of lower tiers have something left."""

    @property
    def is_forgiving(self) -> bool:
        """Whether a success clears it; the others only take no offence at the success."""


class AttemptStore(Protocol):
    """Where attempts are counted; budgets come by tier, and a tier counts only while the ones before have some left."""

    def spend(self, budgets: Sequence[Budget], now: datetime) -> int:
        """Takes one attempt from each budget; the seconds to wait, 0 when all had one left."""

    def give_back(self, budgets: Sequence[Budget], now: datetime) -> None:
        """Undoes one attempt, and all of a budget that forgives."""


class StoreAway(Exception):
    """The store did not answer, or not in time."""


_SPEND: Final = """
local function count(i)
    local spent = redis.call('INCR', KEYS[i])
    local left = redis.call('PTTL', KEYS[i])
    if left < 0 then
        left = tonumber(ARGV[3 * i - 1]) * 1000
        redis.call('PEXPIRE', KEYS[i], left)
    end
    return spent > tonumber(ARGV[3 * i - 2]) and left or 0
end
local wait, tier = 0, 0
for i = 1, #KEYS do
    if tonumber(ARGV[3 * i]) > tier then
        if wait > 0 then return wait end
        tier = tonumber(ARGV[3 * i])
    end
    wait = math.max(wait, count(i))
end
return wait
"""
_GIVE_BACK: Final = """
for i = 1, #KEYS do
    if ARGV[i] == '1' then
        redis.call('DEL', KEYS[i])
    elseif tonumber(redis.call('GET', KEYS[i]) or '0') > 0 then
        redis.call('DECR', KEYS[i])
    end
end
"""


class RedisStore:
    """Counts in Redis or Valkey, with one script for each act."""

    def __init__(self, url: str, timeout: float = REDIS_TIMEOUT_SECONDS) -> None:
        try:
            # Not at the top: it takes megabytes of each worker, and few deployments use it.
            driver = importlib.import_module("redis")
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "GATEPOST_RATE_LIMIT_REDIS_URL needs the extra: pip install 'gatepost[redis]'"
            ) from error
        self._error: type[Exception] = driver.RedisError
        self._redis = driver.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=None)
        self._spend, self._give_back = (self._redis.register_script(script) for script in (_SPEND, _GIVE_BACK))

    def spend(self, budgets: Sequence[Budget], now: datetime) -> int:
        """Takes one attempt from each budget; the clock is Redis's.

        Raises:
            StoreAway: when Redis does not answer in time.
        """
        numbers = [number for budget in budgets for number in (budget.attempts, budget.seconds, budget.tier)]
        milliseconds = self._run(self._spend, budgets, numbers)
        return math.ceil(milliseconds / 1000)

    def give_back(self, budgets: Sequence[Budget], now: datetime) -> None:
        """Undoes one attempt, and all of a budget that forgives.

        Raises:
            StoreAway: when Redis does not answer in time.
        """
        self._run(self._give_back, budgets, [int(budget.is_forgiving) for budget in budgets])

    def _run(self, script: Any, budgets: Sequence[Budget], numbers: list[int]) -> int:
        try:
            return int(script(keys=[_PREFIX + budget.bucket for budget in budgets], args=numbers) or 0)
        except self._error as error:
            raise StoreAway(type(error).__name__) from error


class ProcessStore:
    """Counts in this process, which has its share of each budget: what all processes allow together is no more."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._spent: dict[str, tuple[int, datetime]] = {}
        self._lock = threading.Lock()

    def spend(self, budgets: Sequence[Budget], now: datetime) -> int:
        """Takes one attempt from each budget."""
        wait = tier = 0
        with self._lock:
            for budget in budgets:
                if budget.tier > tier and wait > 0:
                    break
                tier = budget.tier
                wait = max(wait, self._count(budget, now))
            if len(self._spent) > MAXIMUM_BUCKETS:
                self._forget(now)
        return wait

    def give_back(self, budgets: Sequence[Budget], now: datetime) -> None:
        """Undoes one attempt, and all of a budget that forgives."""
        with self._lock:
            for budget in budgets:
                spent, ends_at = self._spent.pop(budget.bucket, (0, now))
                if spent > 1 and not budget.is_forgiving:
                    self._spent[budget.bucket] = spent - 1, ends_at

    def _count(self, budget: Budget, now: datetime) -> int:
        spent, ends_at = self._spent.get(budget.bucket, (0, now))
        if ends_at <= now:
            spent, ends_at = 0, now + timedelta(seconds=budget.seconds)
        self._spent[budget.bucket] = spent + 1, ends_at
        share = max(1, budget.attempts // self._processes)
        return math.ceil((ends_at - now).total_seconds()) if spent + 1 > share else 0

    def _forget(self, now: datetime) -> None:
        """Drops what is over, and of the rest what ends soonest: memory is bounded whoever sends what."""
        self._spent = {bucket: entry for bucket, entry in self._spent.items() if entry[1] > now}
        over = len(self._spent) - MAXIMUM_BUCKETS * 9 // 10
        for bucket in heapq.nsmallest(max(0, over), self._spent, key=lambda name: self._spent[name][1]):
            del self._spent[bucket]


class FallbackStore:
    """A store that may be away, and this process's own counts while it is."""

    def __init__(self, store: AttemptStore, own: ProcessStore) -> None:
        self._store, self._own = store, own
        self._retry_at = 0.0
        #: Whether this process counts for itself, and how often it had to begin to: for metrics.
        self.is_away = False
        self.outages = 0

    def spend(self, budgets: Sequence[Budget], now: datetime) -> int:
        """Takes one attempt from each budget, wherever it can be counted."""
        if self._may_ask():
            try:
                wait = self._store.spend(budgets, now)
            except StoreAway as reason:
                self._note_away(reason)
            else:
                self._note_answer()
                return wait
        return self._own.spend(budgets, now)

    def give_back(self, budgets: Sequence[Budget], now: datetime) -> None:
        """Undoes one attempt wherever it may have been counted."""
        self._own.give_back(budgets, now)
        if self._may_ask():
            try:
                self._store.give_back(budgets, now)
            except StoreAway as reason:
                self._note_away(reason)

    def _may_ask(self) -> bool:
        return not self.is_away or time.monotonic() >= self._retry_at

    def _note_away(self, reason: StoreAway) -> None:
        self._retry_at = time.monotonic() + RETRY_SECONDS
        if not self.is_away:
            self.is_away = True
            self.outages += 1
            log.error("the rate-limit store does not answer (%s): this process counts attempts by itself", reason)

    def _note_answer(self) -> None:
        if self.is_away:
            self.is_away = False
            log.warning("the rate-limit store answers again")


class RateLimits:
    """Where this process counts attempts; without a store of its own, in the database."""

    def __init__(self, store: AttemptStore | None = None) -> None:
        self.store = store
        #: Until when what used up a budget is refused without being counted again.
        self.refused_until: dict[str, datetime] = {}

    def wait_for(self, bucket: str, now: datetime) -> int:
        """The seconds until what is counted under `bucket` may be tried again; 0 when this process knows of none."""
        if not self.refused_until:
            return 0
        return math.ceil((self.refused_until.get(bucket, now) - now).total_seconds())

    def refuse(self, bucket: str, until: datetime, now: datetime) -> None:
        """Remembers that a budget is used up; bounded, whoever invents names."""
        if len(self.refused_until) >= MAXIMUM_REFUSED:
            for known in [known for known, moment in self.refused_until.items() if moment <= now]:
                del self.refused_until[known]
        if len(self.refused_until) < MAXIMUM_REFUSED:
            self.refused_until[bucket] = until

    @property
    def is_store_away(self) -> bool:
        """Whether a configured store is away at the moment."""
        return isinstance(self.store, FallbackStore) and self.store.is_away

    @property
    def outages(self) -> int:
        """How often the store has gone away since the process began."""
        return self.store.outages if isinstance(self.store, FallbackStore) else 0


def open_rate_limits(settings: Settings) -> RateLimits:
    """The limits of this process, on the store that the settings name.

    Raises:
        ConfigurationError: when Redis is asked for and its driver is not installed, or the address is none.
    """
    url = settings.rate_limit_redis_url
    if url is None:
        return RateLimits()
    processes = settings.rate_limit_processes or settings.workers or len(usable_cores())
    try:
        store = RedisStore(url.get_secret_value())
    except ValueError as error:
        raise ConfigurationError("GATEPOST_RATE_LIMIT_REDIS_URL: must be redis://host:port/number") from error
    return RateLimits(FallbackStore(store, ProcessStore(processes)))
