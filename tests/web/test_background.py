"""The sweeper of each worker: round after round, and no fault ends it."""

from __future__ import annotations

import logging

import pytest

from server.domain.login_attempts import LoginAttempts, spend_attempt
from server.domain.policy.lockout import Budget
from server.infra.database import database_url
from server.web.background import Sweeper
from tests.support.application import Gatepost


def spend(gatepost: Gatepost, count: int) -> None:
    with gatepost.work() as work:
        for number in range(count):
            spend_attempt(work, (Budget(f"account:{number}", 1, 60),))
    gatepost.clock.advance(61)


def left(gatepost: Gatepost) -> int:
    with gatepost.work() as work:
        return work.db.query(LoginAttempts).count()


def test_round_goes_on_until_nothing_is_due(gatepost: Gatepost, caplog: pytest.LogCaptureFixture) -> None:
    spend(gatepost, 1100)
    with caplog.at_level(logging.INFO, "server.web.background"):
        Sweeper(gatepost.runtime).sweep_all()
    assert left(gatepost) == 0
    assert [record.args for record in caplog.records] == [{"login_attempts": 500}] * 2 + [{"login_attempts": 100}]


def test_thread_sweeps_and_ends_when_it_is_told(gatepost: Gatepost) -> None:
    spend(gatepost, 1)
    sweeper = Sweeper(gatepost.runtime, interval_seconds=0.01)
    sweeper.start()
    for _ in range(500):
        if left(gatepost) == 0:
            break
        sweeper.join(0.02)
    sweeper.stop()
    sweeper.join(5)
    assert not sweeper.is_alive()
    assert left(gatepost) == 0


def test_fault_is_logged_and_the_thread_goes_on(gatepost: Gatepost, caplog: pytest.LogCaptureFixture) -> None:
    path = database_url(gatepost.settings).database or ""
    with gatepost.work() as work:
        work.db.connection().exec_driver_sql("ALTER TABLE login_attempts RENAME TO elsewhere")
    sweeper = Sweeper(gatepost.runtime, interval_seconds=0.01)
    sweeper.start()
    for _ in range(500):
        if len(caplog.records) > 1:
            break
        sweeper.join(0.02)
    sweeper.stop()
    sweeper.join(5)
    assert [record.getMessage() for record in caplog.records][:2] == [
        "housekeeping did not finish: OperationalError"
    ] * 2
    assert path not in caplog.text
