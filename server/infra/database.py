"""The database: engine, models' base, and the one commit per request.

SQLite runs in WAL mode with `synchronous=FULL`, so that what was acknowledged survives a power cut, and takes the write
lock when a transaction begins (`BEGIN IMMEDIATE`), so that two writers queue instead of failing at their first write.
PostgreSQL runs through psycopg 3 at READ COMMITTED.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON, CursorResult, Engine, MetaData, Table, create_engine, event, inspect, make_url
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import ClassManager, DeclarativeBase, Session, scoped_session
from sqlalchemy.orm.attributes import manager_of_class
from sqlalchemy.sql.dml import UpdateBase

from server.config import ConfigurationError, Settings
from server.infra import circuit_breaker
from server.infra.utc_datetime import UtcDateTime
from server.infra.write_lock import begin_writing

#: What the driver raises when the database is away, busy or full: answered with 503, never with a refusal.
OUTAGES: Final = (OperationalError, InterfaceError, PoolTimeoutError)
#: How long a request waits for the database: for a lock on SQLite, for any single answer on PostgreSQL.
REQUEST_PATIENCE: Final = 1.5
#: The same for what nobody waits for: the command line, migrations, housekeeping.
PATIENCE: Final = 6.0
#: How much sooner PostgreSQL itself gives a statement up than we give the connection up.
_STATEMENT_MARGIN: Final = 0.25
_READ_ONLY: Final = "gatepost_read_only"
_AUTOCOMMIT: Final = "AUTOCOMMIT"

DatabaseSession: TypeAlias = Session | scoped_session[Any]


class Base(DeclarativeBase):
    """The base of every table; free of Flask, so that the rules over the tables are too."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime, dict[str, Any]: JSON, list[str]: JSON}


T = TypeVar("T", bound=Base)

#: The Flask side: one session per request, removed when the request ends.
database = SQLAlchemy(metadata=Base.metadata, session_options={"expire_on_commit": False})


def database_url(settings: Settings) -> URL:
    """The configured URL, with psycopg 3 as PostgreSQL's driver and SQLite's folder made."""
    url = make_url(settings.database_url.get_secret_value())
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}:
        _make_folder(Path(str(url.database)).parent)
        # Flask-SQLAlchemy reads a relative path as one of its instance folder; ours is the working directory's.
        url = url.set(database=str(Path(str(url.database)).absolute()))
    return url


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"GATEPOST_DATABASE_URL: the folder {folder} cannot be made.") from error


def engine_options(settings: Settings, patience: float = REQUEST_PATIENCE) -> dict[str, Any]:
    """Keyword arguments for `create_engine`; `patience` is how many seconds to wait for the database."""
    if database_url(settings).get_backend_name() == "sqlite":
        return {
            "hide_parameters": True,
            "connect_args": {"timeout": patience, "check_same_thread": False},
        }
    statement_timeout = int((patience - _STATEMENT_MARGIN) * 1000)
    return {
        # Parameters are digests, addresses and ciphertexts; error messages shall not carry them into logs.
        "hide_parameters": True,
        "pool_pre_ping": True,
        "pool_timeout": 1,
        "connect_args": {
            "connect_timeout": 2,
            "options": f"-c statement_timeout={statement_timeout} -c timezone=UTC",
            # A database that vanished without a word is noticed within seconds, not within the kernel's minutes.
            "keepalives": 1,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        },
    }


def prepare_engine(engine: Engine, patience: float = REQUEST_PATIENCE) -> None:
    """Gives SQLite its pragmas and its explicit transactions, PostgreSQL connections that end their calls in time."""
    if engine.dialect.name != "sqlite":
        circuit_breaker.install(engine, patience)
        return

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: Any) -> None:
        # The driver would open transactions itself, and later than we must.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get(_READ_ONLY, False):
            connection.exec_driver_sql("BEGIN")
        elif options.get("isolation_level") != _AUTOCOMMIT:
            begin_writing(connection, patience, patience)


def outside_transactions(engine: Engine) -> Engine:
    """The same engine, each of whose statements is a transaction of its own."""
    return engine.execution_options(isolation_level=_AUTOCOMMIT)


def is_in_transaction(db: DatabaseSession) -> bool:
    """Whether the session has begun a transaction."""
    return (db() if isinstance(db, scoped_session) else db).in_transaction()


def begin_reading(db: DatabaseSession) -> None:
    """Opens this request's transaction for reading only, so that on SQLite it waits for no writer."""
    db.connection(execution_options={_READ_ONLY: True})


def commit_before_raising(db: DatabaseSession) -> None:
    """Keeps the mark that a refusal must leave (a found reuse, a failed login) although the request is refused."""
    db.commit()


def open_engine(settings: Settings, patience: float = PATIENCE) -> Engine:
    """An engine of its own, for the command line and for migrations."""
    try:
        engine = create_engine(database_url(settings), **engine_options(settings, patience))
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "GATEPOST_DATABASE_URL: PostgreSQL needs the extra: pip install 'gatepost[postgres]'"
        ) from error
    prepare_engine(engine, patience)
    return engine


@contextmanager
def open_session(settings: Settings) -> Iterator[Session]:
    """One transaction outside a request: committed at the end, rolled back by an exception."""
    engine = open_engine(settings)
    try:
        with Session(engine, expire_on_commit=False) as db:
            yield db
            db.commit()
    finally:
        engine.dispose()


def commit_attempt(db: DatabaseSession) -> None:
    """Keeps a counted attempt whatever becomes of it, and lets go of the database while a password is hashed."""
    db.commit()


def table_of(mapped: type[Base]) -> Table:
    """The table of a mapped class: statements over it do without the unit of work."""
    table = mapped.__table__
    assert isinstance(table, Table)  # narrows the type: a class may be mapped to a join
    return table


def columns_of(*tables: type[Base]) -> list[Any]:
    """All columns of the tables, for a SELECT whose rows `detached` reads."""
    return [column for table in tables for column in table.__table__.columns]


def detached(table: type[T], values: Sequence[Any]) -> T:
    """An instance filled from a row's values, in the columns' order: for reading, as no session knows it.

    It is a tenth of the work of loading it through a session. Changing it changes nothing.
    """
    manager, names = _shape_of(table)
    instance: T = manager.new_instance()
    # Attributes read from here first; setting them one by one would note each as a change.
    instance.__dict__.update(zip(names, values, strict=False))
    return instance


@cache
def _shape_of(table: type[Base]) -> tuple[ClassManager[Any], list[str]]:
    """What makes its instances, and the names of its columns."""
    return manager_of_class(table), table.__table__.columns.keys()


def snapshot(table: type[T], values: Sequence[Any], **more: Any) -> T:
    """As `detached`, with `more` attributes, and none that SQLAlchemy watches: they are read in a sixth of the time."""
    kind, names = _unwatched(table)
    instance: T = kind.__new__(kind)
    instance.__dict__.update(zip(names, values, strict=True), **more)
    return instance


class _NotRead:
    """What a snapshot was not given is missed when it is asked for, and never taken for nothing."""

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError("this column was not read")


@cache
def _unwatched(table: type[Base]) -> tuple[Any, list[str]]:
    """A class below the mapped one, not mapped itself, and the names of its columns."""
    plain = dict.fromkeys(inspect(table).column_attrs.keys(), _NotRead())
    return type(table.__name__, (table,), {"__abstract__": True, **plain}), table.__table__.columns.keys()


def detached_each(tables: Sequence[type[Base]], values: Sequence[Any]) -> list[Any]:
    """One `detached` instance of each table, from a row of `columns_of(*tables)`."""
    instances, begin = [], 0
    for table in tables:
        end = begin + len(table.__table__.columns)
        instances.append(detached(table, values[begin:end]))
        begin = end
    return instances


def insert_if_absent(db: DatabaseSession, table: type[Base], values: dict[str, Any]) -> bool:
    """Inserts a row unless a unique constraint says it is there; False when it was. Simultaneous inserts are safe."""
    dialect = db.get_bind().dialect.name
    statement = (postgresql_insert if dialect == "postgresql" else sqlite_insert)(table).values(**values)
    return count_changed(db, statement.on_conflict_do_nothing()) == 1


def count_changed(db: DatabaseSession, statement: UpdateBase) -> int:
    """Runs an INSERT, UPDATE or DELETE and tells how many rows it changed; rows read before keep what they had."""
    # psycopg reports the count of an INSERT only when SQLAlchemy is told to keep it.
    options = {"synchronize_session": False, "preserve_rowcount": True}
    result = db.execute(statement, execution_options=options)
    assert isinstance(result, CursorResult)  # narrows the type: only a SELECT has another
    return result.rowcount


def is_outage(error: BaseException) -> bool:
    """Whether `error` says that the database is away rather than that the statement was wrong."""
    if isinstance(error, OUTAGES):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated
