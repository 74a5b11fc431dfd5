"""The table of audit rows, and the two ways into it: one row in a transaction, many rows in few statements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final, TypeAlias

from sqlalchemy import BigInteger, Connection, Index, Integer, Table, insert, text
from sqlalchemy.orm import Mapped, mapped_column

from server.infra.database import Base, DatabaseSession
from server.infra.prepared import into_database

#: The columns of one row but its number, by name.
AuditValues: TypeAlias = dict[str, Any]


class AuditRecord(Base):
    """Who did what to whom, when and from where. Ids and names only; never a secret."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "organization_id", "at"),)

    # SQLite numbers rows by itself only in a column that is an INTEGER; its integers have 64 bits anyway.
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
    )
    at: Mapped[datetime] = mapped_column(index=True)
    event: Mapped[str]
    actor_kind: Mapped[str]
    actor_id: Mapped[str | None]
    user_id: Mapped[str | None] = mapped_column(index=True)
    client_id: Mapped[str | None] = mapped_column(index=True)
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    request_id: Mapped[str | None]
    #: Of the details, which are sealed, those that rows are looked for by.
    organization_id: Mapped[str | None]
    environment: Mapped[str | None]
    details: Mapped[dict[str, Any]]


_TABLE = AuditRecord.__table__
assert isinstance(_TABLE, Table)  # narrows the type: a mapped class may stand for a join
# Of the table and not of the class, and without asking for the row's number: the unit of work has no part in it.
_INSERT: Final = insert(_TABLE).inline()

# One parameter and one round trip for any number of rows, for a third of the work of as many INSERTs.
_INSERT_MANY_ON_POSTGRESQL: Final = text(
    "INSERT INTO audit_events"
    " (at, event, actor_kind, actor_id, user_id, client_id, ip, user_agent, request_id,"
    " organization_id, environment, details)"
    " SELECT at, event, actor_kind, actor_id, user_id, client_id, ip, user_agent, request_id,"
    " organization_id, environment, details"
    " FROM json_to_recordset(CAST(:rows AS json)) AS written"
    " (at timestamptz, event text, actor_kind text, actor_id text, user_id text, client_id text,"
    " ip text, user_agent text, request_id text, organization_id text, environment text, details json)"
)

# SQLite's driver gives the interpreter away for each step of a statement, and a busy worker does not give it back soon:
# a row that is a step of its own costs half as much again. No statement has more parameters than every SQLite takes.
_ROWS_OF_A_STATEMENT: Final = (64, 8, 1)


def insert_record(db: DatabaseSession, values: AuditValues) -> None:
    """Inserts one row in the session's transaction; what the session has not flushed yet stays as it is."""
    db.execute(_INSERT, values)


def insert_records(connection: Connection, rows: Sequence[AuditValues]) -> None:
    """Inserts many rows at once in the connection's transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(_INSERT_MANY_ON_POSTGRESQL, {"rows": json.dumps(rows, default=datetime.isoformat)})
    else:
        _insert_on_sqlite(connection, rows)


def _insert_on_sqlite(connection: Connection, rows: Sequence[AuditValues]) -> None:
    columns = [column for column in _TABLE.columns if column is not _TABLE.c.id]
    conversions = [(column.name, into_database(column.type, connection.dialect)) for column in columns]
    values = [[row.get(name) if into is None else into(row.get(name)) for name, into in conversions] for row in rows]
    names, places = ", ".join(column.name for column in columns), f"({', '.join('?' * len(columns))})"
    begin = 0
    for size in _ROWS_OF_A_STATEMENT:
        all_places = ", ".join([places] * size)
        statement = f"INSERT INTO audit_events ({names}) VALUES {all_places}"  # noqa: S608 – the columns' names only
        while begin + size <= len(values):
            connection.exec_driver_sql(statement, tuple(chain.from_iterable(values[begin : begin + size])))
            begin += size
