"""A PostgreSQL that hangs: calls are given up in time, and while it is away nobody waits for it.

A call that is not answered within its connection's patience is given up and its connection closed; statement timeouts
cannot do that, since a stopped server and a broken path enforce nothing. That, and a connection that cannot be opened,
opens the circuit: from then on every call fails at once, so that requests do not queue up behind a database that is
away. A thread asks twice a second whether it is back and then closes the circuit; no request pays for the question.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Engine, event

log = logging.getLogger(__name__)

PROBE_SECONDS: Final = 0.5


class CircuitBreaker:
    """Open while the database is away. It never opens before `arm`, as nobody would close it again."""

    def __init__(self) -> None:
        self._is_armed = False
        self._lock = threading.Lock()
        self._probe: threading.Thread | None = None
        #: How often it has opened, for the metrics.
        self.openings = 0

    @property
    def is_open(self) -> bool:
        """Whether calls fail at once."""
        return self._probe is not None

    def arm(self) -> None:
        """Makes it work, in a process that serves; to be called after the last fork."""
        self._is_armed = True

    def refuses(self) -> bool:
        """Whether this thread shall not call: all but the one that asks whether the database is back."""
        return self._probe is not None and self._probe is not threading.current_thread()

    def open(self, connect: Any) -> None:
        """Lets calls fail at once until a connection that `connect` opens is answered on."""
        with self._lock:
            if not self._is_armed or self._probe is not None:
                return
            self.openings += 1
            self._probe = threading.Thread(target=self._ask_until_back, args=(connect,), name="probe", daemon=True)
            log.error("the database is away; nobody waits for it until it is back")
            self._probe.start()

    def _ask_until_back(self, connect: Any) -> None:
        while not _answers(connect):
            time.sleep(PROBE_SECONDS)
        self._probe = None
        log.warning("the database is back")


def _answers(connect: Any) -> bool:
    try:
        connection = connect()
        try:
            connection.execute("SELECT 1")
        finally:
            connection.close()
    except Exception:  # noqa: BLE001  # whatever keeps it from answering, it is asked again
        return False
    return True


#: One a process: all connections lead to the same database.
circuit: Final = CircuitBreaker()


def install(engine: Engine, patience: float) -> None:
    """Makes `engine` connect with psycopg connections that wait no longer than `patience` seconds for any answer."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        connection_class = _patient_connection(patience)

        def attempt() -> Any:
            connection = connection_class.connect(*arguments, **options)
            connection.open_again = attempt
            return connection

        driver = importlib.import_module("psycopg")
        if circuit.refuses():
            raise driver.OperationalError("the database is away")
        try:
            return attempt()
        except driver.OperationalError:
            circuit.open(attempt)
            raise


@lru_cache
def _patient_connection(patience: float) -> Any:
    # The driver is an extra, and costs memory where the database is SQLite.
    driver = importlib.import_module("psycopg")

    class PatientConnection(driver.Connection):  # type: ignore[misc, name-defined]  # known at run time only
        """A connection each of whose calls ends in time."""

        #: Opens another connection of the same kind.
        open_again: Any = None

        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            """Every call passes here. One with a time limit of its own keeps that."""
            if circuit.refuses():
                self.close()
                raise driver.OperationalError("the database is away")
            if timeout is not None:
                return super().wait(gen, interval, timeout)
            try:
                return super().wait(gen, interval, patience)
            except driver.errors._WaitTimeout:
                # The answer may still come, and must not be taken for that of the next call.
                self.close()
                circuit.open(self.open_again)
                raise driver.OperationalError(f"the database did not answer within {patience} s") from None

    return PatientConnection
