"""Migrations: they make exactly the tables that the rules expect, and may be run again at any time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Column, Connection, Engine, ForeignKey, inspect, text

from server.config import Settings
from server.domain.tables import METADATA, OWNERS
from server.infra import migrations
from server.infra.database import Base, open_engine, open_session
from server.infra.migrations import current_revision, newest_revision, rebuild, upgrade
from server.infra.resources import MIGRATIONS

ANY_ROW = text("INSERT INTO revoked_access_tokens VALUES ('a', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Settings:
    """Of an empty database, once of each kind."""
    monkeypatch.chdir(tmp_path)
    return Settings(_env_file=None, database_url=database_url)


def tables_of(settings: Settings) -> set[str]:
    engine = open_engine(settings)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def scripts() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": has_another_default}
    found = compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
    if connection.dialect.name != "sqlite":
        return list(found)
    # SQLAlchemy reads neither name nor action of a foreign key that SQLite was given together with its column.
    inline = {key.parent.name for key in foreign_keys_added(found)} & COLUMNS_ADDED_WITH_FOREIGN_KEY
    return [each for each in found if each[0] not in {"add_fk", "remove_fk"} or each[1].column_keys[0] not in inline]


COLUMNS_ADDED_WITH_FOREIGN_KEY = {"organization_id"}


def foreign_keys_added(found: Sequence[Any]) -> list[ForeignKey]:
    return [
        key for each in found if each[0] == "add_fk" and each[1].table.name == "clients" for key in each[1].elements
    ]


def has_another_default(
    _context: MigrationContext,
    _inspected: object,
    column: Column[Any],
    found: str | None,
    _: object,
    wanted: str | None,
) -> bool | None:
    """None leaves it to Alembic, which compares by asking the database; PostgreSQL has no = for JSON."""
    if not isinstance(column.type, JSON):
        return None
    return (found or "").removesuffix("::json").strip("'") != (wanted or "").strip("'")


def indexes_of(engine: Engine) -> dict[str, str]:
    """The condition of every partial index, which Alembic does not compare."""
    query = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '%WHERE%'",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE indexdef LIKE '%WHERE%'",
    }[engine.dialect.name]
    with engine.connect() as connection:
        return {name: definition for name, definition in connection.execute(text(query))}  # noqa: C416 -- rows are no pairs to dict()


def test_tables_are_those_of_the_models_when_the_database_was_migrated(settings: Settings) -> None:
    upgrade(settings)
    engine = open_engine(settings)
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()
    assert tables_of(settings) == set(METADATA.tables) | {"alembic_version"}


def test_comparison_sees_a_difference_when_there_is_one(settings: Settings) -> None:
    upgrade(settings)
    with open_session(settings) as db:
        db.execute(text("DROP INDEX ix_grants_user_id"))
        db.execute(text("ALTER TABLE users DROP COLUMN name"))
        kinds = {change[0] for change in differences(db.connection()) if isinstance(change, tuple)}
    assert {"add_column", "add_index"} <= kinds


def test_one_key_per_algorithm_is_active_or_next_in_the_migrated_database(settings: Settings) -> None:
    upgrade(settings)
    engine = open_engine(settings)
    partial = indexes_of(engine)
    engine.dispose()
    assert set(partial) == {"ux_signing_keys_active", "ux_signing_keys_next"}
    assert all("UNIQUE" in definition for definition in partial.values())


def test_upgrade_tells_before_and_after_and_does_nothing_when_run_again(settings: Settings) -> None:
    assert current_revision(settings) is None
    assert upgrade(settings) == (None, newest_revision())
    with open_session(settings) as db:
        db.execute(ANY_ROW)
    assert upgrade(settings) == (newest_revision(), newest_revision())
    assert current_revision(settings) == newest_revision()
    with open_session(settings) as db:
        assert db.execute(text("SELECT count(*) FROM revoked_access_tokens")).scalar() == 1


def test_upgrade_finds_the_work_done_when_another_did_it_after_the_first_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/gatepost.sqlite")

    def overtaken(revision: str | None) -> bool:
        monkeypatch.undo()
        upgrade(settings)
        return False

    monkeypatch.setattr(migrations, "serves", overtaken)
    assert upgrade(settings) == (newest_revision(), newest_revision())


def test_rebuild_leaves_the_newest_tables_empty(settings: Settings) -> None:
    upgrade(settings)
    with open_session(settings) as db:
        db.execute(ANY_ROW)
    rebuild(settings)
    assert current_revision(settings) == newest_revision()
    assert tables_of(settings) == set(METADATA.tables) | {"alembic_version"}
    with open_session(settings) as db:
        assert db.execute(text("SELECT count(*) FROM revoked_access_tokens")).scalar() == 0


def test_downgrade_takes_every_table_away(settings: Settings) -> None:
    upgrade(settings)
    engine = open_engine(settings)
    with engine.begin() as connection:
        config = scripts()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    engine.dispose()
    assert tables_of(settings) == {"alembic_version"}
    assert current_revision(settings) is None


def test_every_module_with_a_table_is_known_to_the_migrations() -> None:
    owners = {owner.__name__ for owner in OWNERS}
    assert {mapper.class_.__module__ for mapper in Base.registry.mappers} == owners


def test_revisions_are_one_numbered_line() -> None:
    revisions = list(ScriptDirectory.from_config(scripts()).walk_revisions())
    assert sum(revision.is_head for revision in revisions) == 1
    assert not any(revision.is_merge_point or revision.is_branch_point for revision in revisions)
    for number, revision in enumerate(reversed(revisions), 1):
        assert re.fullmatch(rf"{number:04d}_[a-z0-9_]+\.py", Path(revision.path).name)


@pytest.mark.parametrize("table", ["clients", "client_secrets", "signing_keys"])
def test_registry_is_counted_when_a_migration_may_have_rebuilt_its_tables(settings: Settings, table: str) -> None:
    """SQLite drops triggers with their table; whoever rebuilds one makes them anew."""
    upgrade(settings)
    on_sqlite = "SELECT count(DISTINCT name) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table"
    # One trigger for insert, update, delete and truncate together.
    on_postgresql = "SELECT 3 * count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = CAST(:table AS regclass)"
    with open_session(settings) as db:
        is_sqlite = db.get_bind().dialect.name == "sqlite"
        assert db.execute(text(on_sqlite if is_sqlite else on_postgresql), {"table": table}).scalar() == 3
