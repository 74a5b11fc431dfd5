"""Statements past SQLAlchemy give what they give through it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    delete,
    insert,
    make_url,
    null,
    select,
    update,
)
from sqlalchemy.exc import StatementError

from server.infra.database import UtcDateTime
from server.infra.prepared import Prepared

THINGS = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", String),
    Column("at", UtcDateTime),
    Column("document", JSON(none_as_null=True)),
    Column("is_good", Boolean),
    Column("digest", LargeBinary),
)
AT = datetime(2026, 11, 22, 9, 30, 15, 250_000, tzinfo=UTC)
LATER, COLUMNS = AT + timedelta(hours=1), THINGS.c
ROWS: list[dict[str, Any]] = [
    {"id": 1, "name": "é\x01", "at": AT, "document": {"a": ["ß", 1.5, None]}, "is_good": True, "digest": b"\x00\xff"},
    {"id": 2, "name": None, "at": None, "document": None, "is_good": None, "digest": None},
    {"id": 3, "name": "", "at": AT + timedelta(days=1), "document": [], "is_good": False, "digest": b""},
]


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    url = make_url(database_url)
    engine: Engine = create_engine(url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        THINGS.metadata.create_all(connection)
        connection.execute(insert(THINGS), ROWS)
        yield connection
    engine.dispose()


def run(connection: Connection, statement: Any, **parameters: Any) -> list[list[Any]]:
    prepared = Prepared(statement, connection.dialect)
    rows = prepared.run(connection.connection.driver_connection, parameters)
    return [list(row) for row in rows]


def through(connection: Connection, statement: Any, **parameters: Any) -> list[list[Any]]:
    return [list(row) for row in connection.execute(statement, parameters)]


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (select(THINGS).order_by(COLUMNS.id), {}),
        (select(COLUMNS.at, COLUMNS.id + 1).where(COLUMNS.at == bindparam("at")), {"at": AT}),
        (select(COLUMNS.id).where(COLUMNS.at < bindparam("at")).order_by(COLUMNS.id), {"at": LATER}),
        (select(COLUMNS.id).where(COLUMNS.id.in_([3, 1]), COLUMNS.name.in_(["", "x"])), {}),
        (select(COLUMNS.id).where(COLUMNS.at.in_([AT, AT + timedelta(days=1)])).order_by(COLUMNS.id), {}),
        (select(COLUMNS.id).where(COLUMNS.is_good == bindparam("good", type_=Boolean)), {"good": False}),
        (select(COLUMNS.document, null()).where(COLUMNS.digest == bindparam("digest")), {"digest": b"\x00\xff"}),
        (select(COLUMNS.id).where(COLUMNS.id == 99), {}),
        (select(COLUMNS.name).where(COLUMNS.id == bindparam("one"), COLUMNS.id <= bindparam("one")), {"one": 1}),
    ],
)
def test_rows_are_those_that_sqlalchemy_reads(
    connection: Connection, statement: Any, parameters: dict[str, Any]
) -> None:
    wanted = through(connection, statement, **parameters)
    assert run(connection, statement, **parameters) == wanted
    assert [[type(value) for value in row] for row in run(connection, statement, **parameters)] == [
        [type(value) for value in row] for row in wanted
    ]


def test_changes_are_written_as_sqlalchemy_writes_them(connection: Connection) -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    change = (
        update(THINGS)
        .where(THINGS.c.id == bindparam("which"))
        .values(at=bindparam("moment"), name="constant")
        .returning(THINGS.c.at, THINGS.c.name)
    )
    assert run(connection, change, which=2, moment=elsewhere) == [[AT, "constant"]]
    assert through(connection, select(THINGS.c.at).where(THINGS.c.id == 2)) == [[AT]]
    assert run(connection, delete(THINGS).where(THINGS.c.id == 3).returning(THINGS.c.id)) == [[3]]
    assert through(connection, select(THINGS.c.id).order_by(THINGS.c.id)) == [[1], [2]]


@pytest.mark.parametrize("document", [["pwd"], [], {}, {"a": ["ß", None]}, "text", None])
def test_document_is_written_as_sqlalchemy_writes_it(connection: Connection, document: Any) -> None:
    """To psycopg a list is an array, and anything else nothing at all."""
    change = update(THINGS).where(THINGS.c.id == bindparam("which")).values(document=bindparam("written"))
    assert run(connection, change.returning(THINGS.c.id), which=1, written=document) == [[1]]
    assert through(connection, select(THINGS.c.document).where(THINGS.c.id == 1)) == [[document]]
    is_null = select(THINGS.c.document.is_(null())).where(THINGS.c.id == 1)
    assert through(connection, is_null) == [[document is None]]


def test_statement_may_run_again_with_other_values(connection: Connection) -> None:
    prepared = Prepared(select(THINGS.c.id).where(THINGS.c.name == bindparam("name")), connection.dialect)
    driver_connection = connection.connection.driver_connection
    found = [[list(row) for row in prepared.run(driver_connection, {"name": name})] for name in ("", "nobody", "é\x01")]
    assert found == [[[3]], [], [[1]]]


def test_time_without_a_zone_is_refused_on_either_way(database_url: str, connection: Connection) -> None:
    statement = select(THINGS.c.id).where(THINGS.c.at == bindparam("at"))
    naive = datetime(2026, 11, 22)
    with pytest.raises(StatementError, match="naive"):
        through(connection, statement, at=naive)
    if database_url.startswith("sqlite"):
        with pytest.raises(ValueError, match="naive"):
            run(connection, statement, at=naive)
