"""The flag by which the main process tells its workers that the end is near."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any

import pytest

from server.infra import draining


@pytest.fixture(autouse=True)
def no_flag() -> Iterator[None]:
    yield
    draining.adopt(None)


def look(flag: draining.Flag, announced: Any, seen: Any) -> None:
    draining.adopt(flag)
    seen.put(draining.is_draining())
    announced.wait(20)
    seen.put(draining.is_draining())


def test_nothing_drains_where_there_is_no_flag() -> None:
    draining.announce()
    assert not draining.is_draining()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_sees_what_the_main_process_announced(method: str) -> None:
    context = multiprocessing.get_context(method)
    announced, seen = context.Event(), context.SimpleQueue()
    worker = context.Process(target=look, args=(draining.make_flag(), announced, seen))
    worker.start()
    assert seen.get() is False
    draining.announce()
    announced.set()
    assert seen.get() is True
    worker.join(20)


def test_wait_is_over_so_long_after_the_announcement(monkeypatch: pytest.MonkeyPatch) -> None:
    draining.make_flag()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        draining.announce()

    monkeypatch.setattr(draining.time, "sleep", sleep)
    draining.wait(2.0)
    assert len(slept) == 2, "until it was announced, and then the rest"
    assert 0 < slept[1] <= 2.0


def test_wait_is_over_at_once_when_the_time_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    draining.make_flag()
    draining.announce()
    slept: list[float] = []
    monkeypatch.setattr(draining.time, "sleep", slept.append)
    draining.wait(0.0)
    assert slept == [0.0]
