"""All replicas tell the database's time, whatever their machines believe."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import Engine

from server.config import Settings
from server.infra import database_clock
from server.infra.clock import SystemClock
from server.infra.database import open_engine
from server.infra.database_clock import DatabaseClock, command_clock, serving_clock

pytestmark = [pytest.mark.postgres, pytest.mark.spec("R-25")]


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = open_engine(Settings(_env_file=None, database_url=postgres_url))
    yield engine
    engine.dispose()


def off_by(clock: DatabaseClock) -> float:
    return abs((clock.now() - datetime.now(UTC)).total_seconds())


@pytest.mark.parametrize("skew", [-120, 120, 3600])
def test_clock_tells_the_databases_time_when_the_machine_is_wrong(engine: Engine, skew: int) -> None:
    clock = DatabaseClock(engine)
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=skew), tick=True):
        # The machine's counter is no clock, but what travels in time takes it along.
        assert clock.read()
        told = clock.now()
    assert abs((told - datetime.now(UTC)).total_seconds()) < 1


def test_clock_goes_on_by_itself_between_two_readings(engine: Engine) -> None:
    clock = DatabaseClock(engine)
    assert clock.read()
    before = clock.now()
    time.sleep(0.05)
    assert timedelta(seconds=0.05) <= clock.now() - before < timedelta(seconds=1)
    assert clock.now().utcoffset() == timedelta(0)


def test_clock_goes_on_when_the_database_is_away() -> None:
    nowhere = open_engine(Settings(_env_file=None, database_url="postgresql://127.0.0.1:1/none"))
    clock = DatabaseClock(nowhere)
    assert not clock.read()
    assert off_by(clock) < 1


def test_wrong_machine_is_told_of_once(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    clock = DatabaseClock(engine)
    with (
        caplog.at_level(logging.WARNING),
        time_machine.travel(datetime.now(UTC) + timedelta(seconds=120), tick=True),
    ):
        clock.read()
        clock.read()
    assert [record.getMessage() for record in caplog.records] == [
        "this machine's clock is +120 s off the database's, which is used"
    ]


def test_sqlite_has_the_machines_clock() -> None:
    assert isinstance(serving_clock(Settings(_env_file=None)), SystemClock)
    assert isinstance(command_clock(Settings(_env_file=None)), SystemClock)


def test_command_reads_the_database_once(postgres_url: str) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=120), tick=True):
        told = command_clock(Settings(_env_file=None, database_url=postgres_url)).now()
    assert abs((told - datetime.now(UTC)).total_seconds()) < 1


def test_replica_reads_the_database_when_it_starts(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its thread outlives the test, and shall not connect again.
    monkeypatch.setattr(database_clock, "INTERVAL_SECONDS", 86_400)
    clock = serving_clock(Settings(_env_file=None, database_url=postgres_url))
    assert isinstance(clock, DatabaseClock)
    assert off_by(clock) < 1
    clock._engine.dispose()
