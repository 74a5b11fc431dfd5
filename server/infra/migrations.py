"""Schema migrations, run by Alembic from the shipped scripts; kept out of the serving path, where its import costs.

Replicas serve while the schema changes. On PostgreSQL each revision is a transaction of its own that waits less than a
second for any lock, lets the traffic that it held up pass, and tries again; whoever else upgrades meanwhile waits and
then finds the work done. A killed upgrade is taken up where it ended. On SQLite an upgrade is one transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from server.config import Settings
from server.infra.database import database_url, open_engine
from server.infra.resources import MIGRATIONS

#: Any number all replicas agree on: two of them upgrading at once take turns.
_ADVISORY_LOCK: Final = 7_283_115_900
#: Requests queue up behind a revision that waits for a lock; it gives up before they do (`database.REQUEST_PATIENCE`).
LOCK_TIMEOUT_SECONDS: Final = 0.8
#: How long locks are tried for, and others' migrations waited for.
PATIENCE_SECONDS: Final = 600.0
#: Indexes of large tables take their time.
_LONGEST_STATEMENT_SECONDS: Final = 86_400.0
_PAUSE_SECONDS: Final = 0.5


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(settings: Settings) -> tuple[str | None, str | None]:
    """Brings the database to the newest revision, or leaves it at a later one; returns the revisions before and after.

    Raises:
        OperationalError: when a lock could not be had, or another upgrade did not end, within ten minutes.
    """
    with _alone(settings) as engine:
        with engine.connect() as connection:
            before = _revision(connection)
        if serves(before):
            return before, before
        return _persistently(lambda: _run(engine, command.upgrade, "head"))


def rebuild(settings: Settings) -> None:
    """Takes every table down and makes it anew, empty."""
    with _alone(settings) as engine:
        _run(engine, command.downgrade, "base")
        _run(engine, command.upgrade, "head")


def downgrade(settings: Settings, revision: str) -> None:
    """Takes the newer revisions back; what they alone could hold is lost."""
    with _alone(settings) as engine:
        _persistently(lambda: _run(engine, command.downgrade, revision))


def current_revision(settings: Settings) -> str | None:
    """The database's revision, or None when it is empty."""
    engine = open_engine(settings)
    try:
        with engine.connect() as connection:
            return _revision(connection)
    finally:
        engine.dispose()


def newest_revision() -> str | None:
    """The revision that this version of Gatepost needs."""
    scripts = Config()
    scripts.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return ScriptDirectory.from_config(scripts).get_current_head()


def serves(revision: str | None) -> bool:
    """Whether this version serves a database at `revision`: its own, or a later one.

    During a rolling deployment the schema is upgraded first. No revision takes away what the version before it needs
    (`tests/infra/test_migration_rules.py`).
    """
    newest = newest_revision()
    return revision is not None and newest is not None and revision[:4].isdigit() and revision[:4] >= newest[:4]


def _run(engine: Engine, act: Callable[[Config, str], None], revision: str) -> tuple[str | None, str | None]:
    """Runs Alembic on a connection of its own; returns the revisions before and after."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            with connection.begin():
                # Read under the write lock: whoever waited for it finds the work of whoever had it before.
                before = _revision(connection)
                act(_config(connection), revision)
                return before, _revision(connection)
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text(f"SET lock_timeout = {int(LOCK_TIMEOUT_SECONDS * 1000)}"))
        connection.commit()
        before = _revision(connection)
        connection.rollback()
        act(_config(connection), revision)
        connection.rollback()
        return before, _revision(connection)


def _persistently(attempt: Callable[[], tuple[str | None, str | None]]) -> tuple[str | None, str | None]:
    """Tries again while somebody else holds a lock that is needed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return attempt()
        except OperationalError as error:
            if not _is_lock(error) or time.monotonic() > deadline:
                raise
        # Whoever waited behind us passes first.
        time.sleep(2 * LOCK_TIMEOUT_SECONDS)


def _is_lock(error: OperationalError) -> bool:
    # PostgreSQL: lock_not_available, deadlock_detected.
    return getattr(error.orig, "sqlstate", None) in {"55P03", "40P01"} or "database is locked" in str(error.orig)


@contextmanager
def _alone(settings: Settings) -> Iterator[Engine]:
    """An engine, while nobody else migrates; SQLite's own write lock sees to that already."""
    is_sqlite = database_url(settings).get_backend_name() == "sqlite"
    engine = open_engine(settings, PATIENCE_SECONDS if is_sqlite else _LONGEST_STATEMENT_SECONDS)
    try:
        if is_sqlite:
            yield engine
            return
        # Its session holds the lock: it ends with the process, and no transaction stays open that a concurrent
        # index build would wait for.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as holder:
            _take_lock(holder)
            yield engine
    finally:
        engine.dispose()


def _take_lock(holder: Connection) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    # Asked for again and again: a statement that waits is one that a concurrent index build waits for.
    while not holder.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_LOCK}).scalar():
        if time.monotonic() > deadline:
            raise OperationalError("pg_try_advisory_lock", None, TimeoutError("another upgrade does not end"))
        time.sleep(_PAUSE_SECONDS)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
