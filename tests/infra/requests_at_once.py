"""Requests that come to write at the same time, for the tests of what is written together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from server.infra import group_commit
from server.infra.autocommit import Autocommit
from server.infra.turns import Gate, turn


class Requests:
    """Requests of one process, all of which come to write before the first of them may."""

    def __init__(self, autocommit: Autocommit) -> None:
        self.autocommit = autocommit
        self.gate = Gate()

    def at_once(self, *visits: Callable[[], object]) -> list[Future[object]]:
        """What became of each visit; all of them wait before the first has its turn."""
        with ThreadPoolExecutor(len(visits)) as threads:
            with turn(self.gate):
                futures = [threads.submit(self.visit, visit) for visit in visits]
                while self.gate.waiting < len(visits):
                    assert not any(future.done() for future in futures)
            return futures

    def visit(self, visit: Callable[[], object]) -> object:
        """What becomes of a visit that has its turn."""
        with turn(self.gate):
            return visit()

    def gather_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on a leader waits until nobody else waits for a turn, however long that takes."""

        def until_all_are_there(_: float) -> None:
            while self.gate.waiting:
                pass

        monkeypatch.setattr(group_commit.time, "sleep", until_all_are_there)
