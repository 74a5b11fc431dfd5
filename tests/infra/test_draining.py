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
