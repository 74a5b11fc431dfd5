"""Watches the statements that reach the database on either way there: through SQLAlchemy and past it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from server.infra.prepared import Prepared, Rows


def watch_statements(engines: Iterable[Engine], act: Callable[[str], object], patch: pytest.MonkeyPatch) -> None:
    """Calls `act` with the text of each before it is run, until `patch` is undone; what it raises, the caller gets."""
    run = Prepared.run

    def watched(self: Prepared, driver_connection: Any, parameters: Mapping[str, Any]) -> Rows:
        act(self.sql)
        return run(self, driver_connection, parameters)

    patch.setattr(Prepared, "run", watched)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", lambda *given: act(given[2]))


@contextmanager
def each_statement(engines: Iterable[Engine], act: Callable[[str], object]) -> Iterator[None]:
    """The same until the context ends."""
    is_over = False

    def act_meanwhile(statement: str) -> None:
        if not is_over:
            act(statement)

    try:
        with pytest.MonkeyPatch.context() as patch:
            watch_statements(engines, act_meanwhile, patch)
            yield
    finally:
        is_over = True


@contextmanager
def noted_statements(engines: Iterable[Engine]) -> Iterator[list[str]]:
    """The texts of those that begin meanwhile, in their order."""
    seen: list[str] = []
    with each_statement(engines, seen.append):
        yield seen
