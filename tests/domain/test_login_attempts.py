"""Login attempts: counted exactly, in windows, and given back only to those who proved who they are."""

from __future__ import annotations

import threading

import pytest

from server.domain.errors import TooMany
from server.domain.login_attempts import give_back, spend_attempt
from server.domain.policy.lockout import Budget
from server.domain.unit_of_work import UnitOfWork
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

SMALL = Budget("account:somebody", 3, 60)


def spend(work: UnitOfWork, *budgets: Budget, times: int = 1) -> None:
    for _ in range(times):
        spend_attempt(work, budgets)


def test_attempt_is_refused_when_the_budget_is_used_up(work: UnitOfWork, clock: FrozenClock) -> None:
    spend(work, SMALL, times=3)
    clock.advance(10)
    with pytest.raises(TooMany) as caught:
        spend(work, SMALL)
    assert caught.value.retry_after == 50


def test_budget_is_whole_again_when_its_window_is_over(work: UnitOfWork, clock: FrozenClock) -> None:
    spend(work, SMALL, times=3)
    clock.advance(59.9)
    with pytest.raises(TooMany):
        spend(work, SMALL)
    clock.advance(0.1)
    spend(work, SMALL, times=3)
    with pytest.raises(TooMany):
        spend(work, SMALL)


def test_longest_wait_is_told_when_several_budgets_are_used_up(work: UnitOfWork) -> None:
    slow = Budget("account:somebody:somewhere", 3, 600)
    spend(work, SMALL, slow, times=3)
    with pytest.raises(TooMany) as caught:
        spend(work, SMALL, slow)
    assert caught.value.retry_after == 600


def test_success_gives_back_to_account_and_device_and_never_to_the_network(work: UnitOfWork) -> None:
    network, device = Budget("network:192.0.2.7", 3, 60), Budget("device:somebody:browser", 3, 60)
    spend(work, SMALL, network, device, times=3)
    give_back(work, (SMALL, network, device))
    spend(work, SMALL, device, times=3)
    with pytest.raises(TooMany):
        spend(work, network)


def test_every_attempt_counts_when_many_arrive_at_once(gatepost: Gatepost) -> None:
    allowed: list[bool] = []
    gate = threading.Barrier(8)

    def guess() -> None:
        gate.wait()
        with gatepost.work() as work:
            try:
                spend_attempt(work, (SMALL,))
            except TooMany:
                # The count stays; the context ends well and commits it.
                return
            allowed.append(True)

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(allowed) == 3
