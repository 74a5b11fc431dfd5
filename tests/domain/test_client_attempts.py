"""Guesses at client secrets: counted by client and network, refused for a while, and no stranger stops a client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import event

from server.config import Settings
from server.domain.actor import Actor
from server.domain.audit_events import AuditEvent
from server.domain.client_attempts import check_may_authenticate, count_failure
from server.domain.errors import TooMany
from server.domain.unit_of_work import UnitOfWork
from server.infra import rate_limiter
from server.infra.database import open_session
from server.infra.migrations import upgrade
from server.infra.rate_limiter import RateLimits
from tests.domain.factories import audited
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock


@pytest.fixture
def work(gatepost: Gatepost, database_url: str) -> Iterator[UnitOfWork]:
    settings = Settings(_env_file=None, database_url=database_url)
    upgrade(settings)
    runtime = replace(gatepost.runtime, settings=settings, limits=RateLimits())
    with open_session(settings) as db:
        yield from_network(UnitOfWork.begin(runtime, db, Actor("anonymous")), "192.0.2.7")


def from_network(work: UnitOfWork, ip: str) -> UnitOfWork:
    return replace(work, actor=Actor("anonymous", None, ip))


def in_another_worker(work: UnitOfWork) -> UnitOfWork:
    return replace(work, runtime=replace(work.runtime, limits=RateLimits()))


def fail(work: UnitOfWork, client_id: str = "web", times: int = 31) -> None:
    for _ in range(times):
        check_may_authenticate(work, client_id)
        count_failure(work, client_id)


@pytest.mark.spec("B-07")
def test_client_is_refused_from_the_network_that_failed_too_often(work: UnitOfWork, clock: FrozenClock) -> None:
    fail(work)
    clock.advance(60)
    with pytest.raises(TooMany) as caught:
        check_may_authenticate(work, "web")
    assert caught.value.retry_after == 540
    (row,) = audited(work, AuditEvent.CLIENT_AUTHENTICATION_FAILED)
    assert (row.ip, row.details) == ("192.0.2.7", {"reason": "too many failures", "refused_seconds": 600})


@pytest.mark.spec("B-07")
def test_client_goes_on_from_elsewhere_and_others_from_there_when_one_is_refused(work: UnitOfWork) -> None:
    fail(work)
    check_may_authenticate(from_network(work, "198.51.100.1"), "web")
    check_may_authenticate(work, "another")


def test_client_goes_on_when_the_window_is_over(work: UnitOfWork, clock: FrozenClock) -> None:
    fail(work)
    clock.advance(600)
    fail(work)
    with pytest.raises(TooMany):
        check_may_authenticate(work, "web")


@pytest.mark.spec("B-07")
def test_network_is_refused_for_every_client_when_it_tries_many(work: UnitOfWork) -> None:
    for number in range(301):
        fail(work, f"guess-{number}", times=1)
    with pytest.raises(TooMany):
        check_may_authenticate(work, "web")
    check_may_authenticate(from_network(work, "198.51.100.1"), "web")


@pytest.mark.spec("B-07")
def test_other_worker_refuses_too_after_the_next_failure_it_counts(work: UnitOfWork) -> None:
    fail(work)
    other = in_another_worker(work)
    check_may_authenticate(other, "web")
    count_failure(other, "web")
    with pytest.raises(TooMany):
        check_may_authenticate(other, "web")


def test_thirty_failures_refuse_nobody(work: UnitOfWork) -> None:
    fail(work, times=30)
    check_may_authenticate(work, "web")


@pytest.mark.spec("B-07")
def test_checking_asks_the_database_nothing(work: UnitOfWork) -> None:
    fail(work)
    work.db.commit()
    statements: list[str] = []
    event.listen(work.db.get_bind(), "before_cursor_execute", lambda *given: statements.append(given[2]))
    check_may_authenticate(work, "another")
    with pytest.raises(TooMany):
        check_may_authenticate(work, "web")
    assert statements == []


def test_what_is_remembered_is_bounded(work: UnitOfWork, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limiter, "MAXIMUM_REFUSED", 2)
    for client_id in ("one", "two", "three"):
        fail(work, client_id)
    refused_until = work.runtime.limits.refused_until
    assert len(refused_until) == 2
    clock.advance(600)
    fail(work, "four")
    assert len(refused_until) == 1
