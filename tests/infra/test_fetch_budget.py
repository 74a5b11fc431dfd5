"""How much one process fetches: nobody makes it ask somebody else more than so often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.infra import fetch_budget
from server.infra.fetch_budget import FAILURE_SECONDS, OVER_ALL, PER_CLIENT, PER_HOST, WINDOW_SECONDS, FetchBudget
from server.infra.fetch_payer import ANYBODY, FetchFailed, FetchPostponed, Payer
from server.infra.outbound_addresses import FetchRefused


class Watch:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    found = Watch()
    monkeypatch.setattr(fetch_budget, "time", found)
    return found


def spent(budget: FetchBudget, hosts: list[str], payer: Payer = ANYBODY) -> int:
    """How many of the fetches were let through."""
    count = 0
    for host in hosts:
        try:
            budget.spend(host, payer)
        except FetchPostponed:
            continue
        count += 1
    return count


@pytest.mark.spec("F-08")
def test_host_is_asked_no_more_when_its_minute_is_spent(watch: Watch) -> None:
    budget = FetchBudget()
    assert spent(budget, ["a.example"] * 1000) == PER_HOST
    assert spent(budget, ["b.example"]) == 1
    watch.now += WINDOW_SECONDS - 1
    assert spent(budget, ["a.example"]) == 0
    watch.now += 1
    assert spent(budget, ["a.example"] * 1000) == PER_HOST


@pytest.mark.spec("F-08")
def test_nobody_is_asked_any_more_when_ten_thousand_hosts_were_named(watch: Watch) -> None:
    budget = FetchBudget()
    assert spent(budget, [f"{number}.example" for number in range(10_000)]) == OVER_ALL


@pytest.mark.spec("F-08")
def test_account_is_untouched_when_another_is_spent(watch: Watch) -> None:
    budget = FetchBudget()
    assert spent(budget, [f"{number % 8}.example" for number in range(1000)]) == OVER_ALL
    for account in (Payer("keys"), Payer("pages", is_operators=True), Payer("keys", is_operators=True)):
        assert spent(budget, ["0.example"] * 1000, account) == PER_HOST
    assert spent(budget, ["9.example"]) == 0


@pytest.mark.spec("F-08")
def test_client_has_a_share_of_its_account(watch: Watch) -> None:
    budget, one, other = FetchBudget(), Payer("pages", "one"), Payer("pages", "other")
    assert spent(budget, ["a.example", "b.example"] * 1000, one) == PER_CLIENT
    assert spent(budget, ["c.example"], one) == 0
    assert spent(budget, ["a.example"] * 1000, other) == PER_CLIENT
    assert spent(budget, ["a.example"], Payer("keys", "one")) == 1
    watch.now += WINDOW_SECONDS
    assert spent(budget, ["a.example"] * 1000, one) == PER_CLIENT


def until_waited_for(budget: FetchBudget, count: int) -> None:
    """Returns when so many threads wait for the answer that one of them fetches."""
    deadline = time.monotonic() + 30
    while sum(len(running._condition._waiters) for running in list(budget._running.values())) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.spec("F-08")
def test_document_is_fetched_once_when_many_want_it_at_a_time() -> None:
    budget, calls, is_waited_for = FetchBudget(), [], threading.Event()

    def fetch() -> bytes:
        calls.append(1)
        assert is_waited_for.wait(30)
        return b"document"

    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(budget.share, "url", fetch) for _ in range(20)]
        until_waited_for(budget, 19)
        is_waited_for.set()
        assert {answer.result(30) for answer in answers} == {b"document"}
    assert len(calls) == 1
    assert budget.share("url", lambda: b"another") == b"another"


def failing(error: Exception, calls: list[int]) -> Callable[[], bytes]:
    def fetch() -> bytes:
        calls.append(1)
        raise error

    return fetch


@pytest.mark.spec("F-08")
@pytest.mark.parametrize("error", [FetchFailed("It failed.", 500), FetchRefused("It is not public.")])
def test_url_that_failed_is_not_asked_again_soon(watch: Watch, error: FetchFailed | FetchRefused) -> None:
    budget, calls = FetchBudget(), []
    for _ in range(5):
        with pytest.raises(type(error), match=error.reason) as caught:
            budget.share("url", failing(error, calls))
        assert getattr(caught.value, "status", 500) == 500
    assert len(calls) == 1
    assert budget.share("another url", lambda: b"document") == b"document"
    watch.now += FAILURE_SECONDS
    assert budget.share("url", lambda: b"document") == b"document"


@pytest.mark.spec("F-08")
def test_url_may_be_asked_by_another_when_a_payer_had_its_share(watch: Watch) -> None:
    budget = FetchBudget()
    with pytest.raises(FetchPostponed):
        budget.share("url", failing(FetchPostponed("It had its share."), []))
    assert budget.share("url", lambda: b"document") == b"document"


def test_remembered_failures_are_bounded(watch: Watch) -> None:
    budget = FetchBudget()
    for number in range(5000):
        with pytest.raises(FetchFailed):
            budget.share(number, failing(FetchFailed("It failed."), []))
    assert len(budget._failures) <= 1000


def test_waiting_threads_go_on_when_a_fetch_breaks_with_a_fault() -> None:
    budget, is_running, goes_on = FetchBudget(), threading.Event(), threading.Event()

    def fetch() -> bytes:
        is_running.set()
        assert goes_on.wait(30)
        raise RuntimeError("a fault of ours")

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(budget.share, "url", fetch)
        assert is_running.wait(30)
        follower = pool.submit(budget.share, "url", lambda: b"never called")
        until_waited_for(budget, 1)
        goes_on.set()
        with pytest.raises(RuntimeError):
            leader.result(30)
        with pytest.raises(FetchFailed):
            follower.result(30)
    assert budget.share("url", lambda: b"document") == b"document"
