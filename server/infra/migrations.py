"""Schema migrations, run by Alembic from the shipped scripts; kept out of the serving path, where its import costs."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Connection

from server.config import Settings
from server.infra.database import open_engine
from server.infra.resources import MIGRATIONS

#: Any number all replicas agree on: two of them upgrading at once take turns.
_ADVISORY_LOCK = 7_283_115_900


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def upgrade(settings: Settings) -> tuple[str | None, str | None]:
    """Brings the database to the newest revision; returns the revisions before and after. Idempotent."""
    engine = open_engine(settings)
    try:
        with engine.begin() as connection:
            _take_turns(connection)
            before = _revision(connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return before, _revision(connection)
    finally:
        engine.dispose()


def _take_turns(connection: Connection) -> None:
    """Waits for whoever else is migrating, however long it takes; SQLite's own write lock does so already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def rebuild(settings: Settings) -> None:
    """Takes every table down and makes it anew, empty."""
    engine = open_engine(settings)
    try:
        with engine.begin() as connection:
            _take_turns(connection)
            config = _config()
            config.attributes["connection"] = connection
            command.downgrade(config, "base")
            command.upgrade(config, "head")
    finally:
        engine.dispose()


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
    return ScriptDirectory.from_config(_config()).get_current_head()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
