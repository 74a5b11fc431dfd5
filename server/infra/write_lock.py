"""SQLite's write lock: one writer at a time, whichever process it is in."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Final

from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

_ASK_AGAIN_SECONDS: Final = 0.001


def begin_writing(connection: Connection, patience: float, usual_patience: float) -> None:
    """Begins a transaction that has the lock, waiting for it for `patience` seconds.

    SQLite's own way of waiting sleeps longer and longer, so that under load the unlucky wait a tenth of a second for a
    lock that is free every millisecond. Here it is asked for every millisecond. What else the connection does waits for
    locks as before, `usual_patience` seconds.

    Raises:
        OperationalError: when others hold it all the time (`is_held`), or the database cannot be written.
    """
    driver_connection: Any = connection.connection.driver_connection
    deadline = time.monotonic() + patience
    driver_connection.execute("PRAGMA busy_timeout = 0")
    try:
        while time.monotonic() < deadline:
            try:
                driver_connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    break
            time.sleep(_ASK_AGAIN_SECONDS)
        # Once more through SQLAlchemy, for an error in its classes.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        driver_connection.execute(f"PRAGMA busy_timeout = {int(usual_patience * 1000)}")


def is_held(error: BaseException | None) -> bool:
    """Whether the error says that another connection has the lock."""
    return isinstance(error, OperationalError) and _is_busy(error.orig)


def _is_busy(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
