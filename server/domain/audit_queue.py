"""Audit rows that need no transaction of their own: kept for some milliseconds and written many at a time.

Which rows may go this way, and what a killed process loses, is argued in docs/adr/0007-audit-rows-in-batches.md.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from itertools import islice
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError, StatementError

from server.config import Settings
from server.domain.audit_records import AuditValues, insert_records
from server.infra.database import open_engine

log = logging.getLogger(__name__)

#: More than a worker writes in ten seconds; beyond it, rows are written by the requests themselves.
CAPACITY: Final = 10_000
#: The most rows in one statement.
BATCH: Final = 1000
#: How long rows gather. A killed process loses no more than these.
GATHER_SECONDS: Final = 0.1
#: How long an idle writer may not notice that the process ends.
_IDLE_SECONDS: Final = 0.2
_RETRY_SECONDS: Final = 1.0
#: How long a process that ends waits for a database that is away.
LAST_TRY_SECONDS: Final = 5.0
#: What a value raises that cannot become one of the database's.
_VALUE_ERRORS: Final = (AttributeError, TypeError, ValueError)


class AuditQueue:
    """A bounded queue and the thread that empties it; one a process, started in the process that serves."""

    def __init__(self) -> None:
        self._rows: deque[AuditValues] = deque()
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._writer: threading.Thread | None = None

    def start(self, settings: Settings) -> None:
        """Begins to write; to be called after the last fork, since threads do not survive one."""
        writer = _Writer(self, open_engine(settings))
        self._writer = writer
        writer.start()

    def stop(self) -> None:
        """Takes no more rows, and returns when those it has are written or given up."""
        writer = self._writer
        self.close()
        if writer is not None:
            writer.join()

    @property
    def is_open(self) -> bool:
        """Whether it takes rows."""
        return self._writer is not None

    def __len__(self) -> int:
        """Rows that wait."""
        return len(self._rows)

    def offer(self, values: AuditValues) -> bool:
        """Takes a row; False when nobody would write it, or too many wait already."""
        # Its own thread says whether it lives, so that a forked child does not wait for its parent's.
        if self._writer is None or not self._writer.is_alive():
            return False
        with self._lock:
            if len(self._rows) >= CAPACITY or not self.is_open:
                return False
            self._rows.append(values)
        if not self._due.is_set():
            self._due.set()
        return True

    def close(self) -> None:
        """Takes no more rows; the writer ends when those it has are written."""
        with self._lock:
            self._writer = None
        self._due.set()

    def wait(self, seconds: float) -> bool:
        """Waits for a row; whether one came since this was asked before, or none will come any more."""
        is_due = self._due.wait(seconds)
        self._due.clear()
        return is_due

    def first(self, count: int) -> list[AuditValues]:
        """The oldest rows, which stay until they are `forget`ten."""
        with self._lock:
            return list(islice(self._rows, count))

    def forget(self, count: int) -> None:
        """Removes the oldest rows: they are written."""
        with self._lock:
            for _ in range(count):
                self._rows.popleft()


class _Writer(threading.Thread):
    """Writes until the process ends.

    It is no daemon: the interpreter waits for it, and when the main thread is over it writes what is left. The server's
    workers run no exit handlers, but they do wait for their threads.
    """

    def __init__(self, queue: AuditQueue, engine: Engine) -> None:
        super().__init__(name="audit-writer", daemon=False)
        self._queue = queue
        # One statement a batch needs no BEGIN and COMMIT around it; on SQLite a batch is many statements.
        is_one_statement = engine.dialect.name == "postgresql"
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT") if is_one_statement else engine
        self._connection: Connection | None = None
        self._main = threading.main_thread()

    def run(self) -> None:
        """The thread's work."""
        while self._goes_on():
            if self._queue.wait(_IDLE_SECONDS):
                time.sleep(GATHER_SECONDS)
                while not self._write_all() and self._goes_on():
                    time.sleep(_RETRY_SECONDS)
        self._queue.close()
        self._write_the_last()
        self._disconnect()
        self._engine.dispose()

    def _goes_on(self) -> bool:
        return self._main.is_alive() and self._queue.is_open

    def _write_all(self) -> bool:
        """Writes what waits now; False when the database does not take it, and the rows wait on.

        What comes meanwhile gathers for the next time: a busy worker would otherwise never write many at once.
        """
        batch, waiting = BATCH, len(self._queue)
        while waiting > 0:
            rows = self._queue.first(min(batch, waiting))
            try:
                self._write(rows)
            except (SQLAlchemyError, *_VALUE_ERRORS) as error:
                self._disconnect()
                if not _is_about_a_row(error):
                    log.warning("%d audit rows wait for the database: %s", len(self._queue), type(error).__name__)
                    return False
                if len(rows) > 1:
                    # One of them is what the database cannot hold; alone, it holds up no other.
                    batch = 1
                    continue
                log.error("an audit row %s cannot be written: %s", rows[0]["event"], type(error).__name__)
            self._queue.forget(len(rows))
            waiting -= len(rows)
        return True

    def _write(self, rows: list[AuditValues]) -> None:
        if self._connection is None:
            self._connection = self._engine.connect()
        with self._connection.begin():
            insert_records(self._connection, rows)

    def _write_the_last(self) -> None:
        deadline = time.monotonic() + LAST_TRY_SECONDS
        while not self._write_all():
            if time.monotonic() > deadline:
                log.error("%d audit rows were lost: the database did not answer", len(self._queue))
                return
            time.sleep(_RETRY_SECONDS / 10)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_about_a_row(error: Exception) -> bool:
    """Whether the rows themselves are at fault, and not the database, its disk, its schema or its permissions."""
    # A value that no statement can be made of is a StatementError, of which the driver's errors are kinds.
    return isinstance(error, (DataError, IntegrityError, *_VALUE_ERRORS)) or type(error) is StatementError
