"""The one clock of all replicas: the database's, read now and then and carried on by this process's own counter.

Replicas whose machines disagree about the time would disagree about what has expired: with two minutes between them, a
code that lives for one would outlive itself threefold on one and be dead on arrival on the other. The counter between
two readings is monotonic, so that a machine whose clock is set back does not notice.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from server.config import Settings
from server.infra.clock import Clock, SystemClock
from server.infra.database import REQUEST_PATIENCE, database_url, open_engine

log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 10.0
#: A reading that took longer says too little about when it was true.
_LONGEST_READING: Final = 0.5
_WORTH_A_WARNING: Final = timedelta(seconds=2)


class DatabaseClock:
    """Tells the database's time; until the first reading, the machine's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._machine = SystemClock()
        #: The database's time at a moment of the monotonic counter.
        self._reading: tuple[datetime, float] | None = None
        self._has_warned = False

    def now(self) -> datetime:
        """The present, as an aware UTC datetime."""
        if self._reading is None:
            return self._machine.now()
        then, counter = self._reading
        return then + timedelta(seconds=time.monotonic() - counter)

    def read(self) -> bool:
        """Asks the database; False, and nothing changed, when it does not answer soon."""
        try:
            with self._engine.connect() as connection:
                began = time.monotonic()
                told: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
                ended = time.monotonic()
        except SQLAlchemyError:
            return False
        if ended - began > _LONGEST_READING:
            return False
        self._reading = (told, (began + ended) / 2)
        self._warn_of_another_time()
        return True

    def keep_reading(self) -> None:
        """Reads now, and every few seconds in a thread of its own; to be called after the last fork."""
        self.read()
        threading.Thread(target=self._keep_reading, name="clock", daemon=True).start()

    def _keep_reading(self) -> None:
        while True:
            time.sleep(INTERVAL_SECONDS)
            self.read()

    def _warn_of_another_time(self) -> None:
        ahead = self._machine.now() - self.now()
        if abs(ahead) > _WORTH_A_WARNING and not self._has_warned:
            log.warning("this machine's clock is %+.0f s off the database's, which is used", ahead.total_seconds())
        self._has_warned = abs(ahead) > _WORTH_A_WARNING


def serving_clock(settings: Settings) -> Clock:
    """The clock of a process that serves: on PostgreSQL that of all replicas, on SQLite the machine's."""
    if database_url(settings).get_backend_name() == "sqlite":
        return SystemClock()
    clock = DatabaseClock(open_engine(settings, REQUEST_PATIENCE))
    clock.keep_reading()
    return clock


def command_clock(settings: Settings) -> Clock:
    """The same clock for a command, which reads it once."""
    if database_url(settings).get_backend_name() == "sqlite":
        return SystemClock()
    engine = open_engine(settings)
    try:
        clock = DatabaseClock(engine)
        clock.read()
        return clock
    finally:
        engine.dispose()
