"""The database: durable, queueing writers, aware datetimes, and outages told from mistakes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, bindparam, create_engine, select, text
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from server.config import Settings
from server.domain.access_tokens import RevokedAccessToken
from server.domain.clients import Client
from server.infra import database
from server.infra.database import (
    begin_reading,
    commit_before_raising,
    engine_options,
    insert_if_absent,
    is_outage,
    open_engine,
    open_session,
    prepare_engine,
    snapshot,
)
from server.infra.database import (
    database_url as parsed_url,
)
from server.infra.migrations import upgrade
from server.infra.utc_datetime import UtcDateTime

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def bare_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Of a migrated database, once of each kind."""
    settings = Settings(_env_file=None, database_url=database_url)
    upgrade(settings)
    return settings


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> Settings:
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path / 'one.sqlite'}")
    upgrade(settings)
    return settings


@pytest.fixture
def engine(sqlite_settings: Settings) -> Iterator[Engine]:
    engine = open_engine(sqlite_settings)
    yield engine
    engine.dispose()


def revoked(jti: str, expires_at: datetime = NOON) -> dict[str, object]:
    return {"jti": jti, "revoked_at": NOON, "expires_at": expires_at}


def pragma(engine: Engine, name: str) -> object:
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


# -------------------------------------------------------------------------------------------------------------- sqlite


@pytest.mark.parametrize(("name", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)])
@pytest.mark.spec("R-06")
def test_pragma_is_in_force_when_sqlite_is_opened(engine: Engine, name: str, value: object) -> None:
    assert pragma(engine, name) == value


def test_pragmas_are_in_force_on_every_connection(engine: Engine) -> None:
    first, second = engine.raw_connection(), engine.raw_connection()
    for connection in (first, second):
        for name, value in (("synchronous", 2), ("foreign_keys", 1)):
            assert connection.cursor().execute(f"PRAGMA {name}").fetchone() == (value,)
        connection.close()


def test_transaction_takes_the_write_lock_when_it_begins(sqlite_settings: Settings, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "one.sqlite", timeout=0, isolation_level=None)
    with open_session(sqlite_settings) as db:
        db.execute(text("SELECT 1"))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()


def test_transaction_leaves_the_write_lock_alone_when_it_only_reads(sqlite_settings: Settings, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "one.sqlite", timeout=0, isolation_level=None)
    with open_session(sqlite_settings) as db:
        begin_reading(db)
        db.execute(text("SELECT count(*) FROM users"))
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    other.close()


@pytest.mark.spec("R-06")
def test_reader_sees_what_was_committed_while_another_writes(sqlite_settings: Settings, tmp_path: Path) -> None:
    writer = sqlite3.connect(tmp_path / "one.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO revoked_access_tokens VALUES ('a', '2026-11-22', '2026-11-22')")
    with open_session(sqlite_settings) as db:
        begin_reading(db)
        assert db.execute(text("SELECT count(*) FROM revoked_access_tokens")).scalar() == 0
    writer.execute("COMMIT")
    writer.close()


@pytest.mark.spec("R-06")
def test_second_writer_is_told_of_an_outage_when_the_first_does_not_finish(
    sqlite_settings: Settings, tmp_path: Path
) -> None:
    first = sqlite3.connect(tmp_path / "one.sqlite", isolation_level=None)
    first.execute("BEGIN IMMEDIATE")
    engine = open_engine(sqlite_settings, patience=0.01)
    with pytest.raises(OperationalError, match="locked") as caught, engine.begin():
        pass
    engine.dispose()
    first.close()
    assert is_outage(caught.value)


def test_rows_without_their_parent_are_refused(settings: Settings) -> None:
    values = "'c', 'nobody', 'd', 'hint', CURRENT_TIMESTAMP"
    statement = f"INSERT INTO client_secrets (id, client_id, secret_digest, hint, created_at) VALUES ({values})"
    with pytest.raises(IntegrityError), open_session(settings) as db:
        db.execute(text(statement))


def test_values_stay_out_of_error_messages(settings: Settings) -> None:
    row = {"jti": "SECRET", "at": NOON}
    insert = text("INSERT INTO revoked_access_tokens VALUES (:jti, :at, :at)").bindparams(
        bindparam("at", type_=UtcDateTime())
    )
    with open_session(settings) as db:
        db.execute(insert, row)
        with pytest.raises(IntegrityError) as caught:
            db.execute(insert, row)
        db.rollback()
    assert "SQL parameters hidden" in str(caught.value)


# ----------------------------------------------------------------------------------------------------------- datetimes


@pytest.mark.parametrize(
    "moment",
    [
        NOON,
        NOON.replace(microsecond=123456),
        datetime(2026, 3, 29, 3, 30, tzinfo=timezone(timedelta(hours=2))),
        datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=-11))),
    ],
)
def test_moment_comes_back_in_utc_when_it_was_stored(settings: Settings, moment: datetime) -> None:
    with open_session(settings) as db:
        db.add(RevokedAccessToken(**revoked("a", moment)))
    with open_session(settings) as db:
        found = db.get_one(RevokedAccessToken, "a").expires_at
    assert found == moment
    assert found.tzinfo is UTC


@pytest.fixture
def abroad(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On a machine that is half a day ahead."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Pacific/Auckland")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.spec("R-26")
def test_moment_is_the_same_wherever_the_machine_stands(sqlite_settings: Settings, abroad: None) -> None:
    with open_session(sqlite_settings) as db:
        db.add(RevokedAccessToken(**revoked("a")))
        db.flush()
        assert db.execute(text("SELECT expires_at FROM revoked_access_tokens")).scalar() == "2026-11-22 12:00:00.000000"
    with open_session(sqlite_settings) as db:
        assert db.get_one(RevokedAccessToken, "a").expires_at == NOON


def test_moment_is_refused_when_it_names_no_zone(settings: Settings) -> None:
    with pytest.raises(StatementError, match="naive datetime"), open_session(settings) as db:
        db.add(RevokedAccessToken(**revoked("a", datetime(2026, 11, 22, 12, 0))))


def test_absent_moment_stays_absent(settings: Settings) -> None:
    table = Table("moments", MetaData(), Column("id", Integer, primary_key=True), Column("at", UtcDateTime))
    with open_session(settings) as db:
        table.create(db.connection())
        db.execute(table.insert().values(id=1, at=None))
        assert db.execute(select(table.c.at)).scalar() is None


def test_moments_are_compared_as_moments_when_a_query_asks(settings: Settings) -> None:
    with open_session(settings) as db:
        db.add(RevokedAccessToken(**revoked("early", NOON - timedelta(seconds=1))))
        db.add(RevokedAccessToken(**revoked("late", NOON + timedelta(seconds=1))))
        db.flush()
        abroad = NOON.astimezone(timezone(timedelta(hours=9)))
        found = db.scalars(select(RevokedAccessToken.jti).where(RevokedAccessToken.expires_at <= abroad)).all()
    assert found == ["early"]


# -------------------------------------------------------------------------------------------------------- transactions


def count(settings: Settings) -> int:
    with open_session(settings) as db:
        return len(db.scalars(select(RevokedAccessToken.jti)).all())


def test_session_commits_when_it_ends_well(settings: Settings) -> None:
    with open_session(settings) as db:
        db.add(RevokedAccessToken(**revoked("a")))
    assert count(settings) == 1


def test_session_rolls_back_when_it_ends_in_an_exception(settings: Settings) -> None:
    def fail() -> None:
        with open_session(settings) as db:
            db.add(RevokedAccessToken(**revoked("a")))
            db.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert count(settings) == 0


def test_mark_of_a_refusal_stays_when_it_was_committed_before_raising(settings: Settings) -> None:
    def refuse() -> None:
        with open_session(settings) as db:
            db.add(RevokedAccessToken(**revoked("kept")))
            commit_before_raising(db)
            db.add(RevokedAccessToken(**revoked("lost")))
            db.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        refuse()
    assert count(settings) == 1


def test_insert_says_no_when_the_row_is_there(settings: Settings) -> None:
    with open_session(settings) as db:
        assert insert_if_absent(db, RevokedAccessToken, revoked("a"))
        assert not insert_if_absent(db, RevokedAccessToken, revoked("a", NOON + timedelta(days=1)))
        assert insert_if_absent(db, RevokedAccessToken, revoked("b"))
    with open_session(settings) as db:
        assert not insert_if_absent(db, RevokedAccessToken, revoked("a", NOON + timedelta(days=1)))
        assert db.get_one(RevokedAccessToken, "a").expires_at == NOON


# ----------------------------------------------------------------------------------------------------------------- url


def test_sqlite_path_is_the_working_directorys_and_its_folder_is_made(tmp_path: Path) -> None:
    url = parsed_url(Settings(_env_file=None, database_url="sqlite:///a/b/gate.sqlite"))
    assert url.database == str(tmp_path / "a" / "b" / "gate.sqlite")
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_through_psycopg_3(scheme: str) -> None:
    settings = Settings(_env_file=None, database_url=f"{scheme}://u:p@db.example/gate")
    assert parsed_url(settings).render_as_string(hide_password=False) == "postgresql+psycopg://u:p@db.example/gate"
    options = engine_options(settings)
    assert options["pool_pre_ping"] is True
    assert options["hide_parameters"] is True
    assert "timezone=UTC" in options["connect_args"]["options"]


def test_postgresql_needs_no_pragmas() -> None:
    engine = create_engine("postgresql+psycopg://db.example/gate")
    before = (len(list(engine.pool.dispatch.connect)), len(list(engine.dispatch.begin)))
    prepare_engine(engine)
    assert (len(list(engine.pool.dispatch.connect)), len(list(engine.dispatch.begin))) == before


# ------------------------------------------------------------------------------------------------------------- outages


def wrapped(kind: type[DBAPIError], *, invalidated: bool = False) -> DBAPIError:
    return kind("SELECT 1", {}, Exception("driver"), connection_invalidated=invalidated)


@pytest.mark.parametrize(
    "error",
    [
        wrapped(OperationalError),
        wrapped(InterfaceError),
        PoolTimeoutError(),
        wrapped(DBAPIError, invalidated=True),
        wrapped(ProgrammingError, invalidated=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_is_an_outage_when_the_database_is_away(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [wrapped(IntegrityError), wrapped(ProgrammingError), wrapped(DBAPIError), ValueError(), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
def test_error_is_no_outage_when_the_statement_was_wrong(error: Exception) -> None:
    assert not is_outage(error)


def test_database_that_cannot_be_opened_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "folder.sqlite").mkdir()
    settings = Settings(_env_file=None, database_url="sqlite:///folder.sqlite")
    with pytest.raises(OperationalError) as caught, open_session(settings) as db:
        db.execute(text("SELECT 1"))
    assert is_outage(caught.value)


@pytest.mark.postgres
def test_postgresql_that_does_not_answer_is_an_outage() -> None:
    settings = Settings(_env_file=None, database_url="postgresql://127.0.0.1:1/gate")
    with pytest.raises(OperationalError) as caught, open_session(settings) as db:
        db.execute(text("SELECT 1"))
    assert is_outage(caught.value)


def test_flask_sees_the_same_tables_as_the_rules() -> None:
    assert database.database.metadata is database.Base.metadata
    assert issubclass(RevokedAccessToken, database.Base)


def test_snapshot_misses_what_it_was_not_given() -> None:
    values = [None for _ in Client.__table__.columns]
    client = snapshot(Client, values)
    assert client.disabled_at is None
    with pytest.raises(AttributeError, match="was not read"):
        _ = client.organization_suspended_at
    with pytest.raises(ValueError, match="shorter"):
        snapshot(Client, values[:-1])
