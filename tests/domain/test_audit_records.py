"""The table of audit rows: what is written many at a time is what would have been written one by one."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from server.domain.audit_records import AuditRecord, AuditValues, insert_record, insert_records
from server.domain.unit_of_work import UnitOfWork
from tests.support.application import Gatepost

#: More than one statement of each size.
COUNT = 2 * 64 + 3 * 8 + 2


def row(work: UnitOfWork, number: int) -> AuditValues:
    return {
        "at": work.now + timedelta(microseconds=number),
        "event": "token.issued",
        "actor_kind": "client",
        "actor_id": f"a-client-{number}",
        "user_id": None if number % 2 else f"usr_{number}",
        "client_id": "a-client",
        "ip": "2001:db8::1",
        "user_agent": "curl/8 \u00e9 \u2028 \"'",
        "request_id": None,
        "organization_id": None if number % 3 else "org_1",
        "environment": None,
        "details": {"scopes": ["notes:read"], "number": number, "none": None},
    }


def written(work: UnitOfWork) -> list[Any]:
    columns = [column for column in AuditRecord.__table__.columns if column.name != "id"]
    return [tuple(each) for each in work.db.execute(select(*columns).order_by(AuditRecord.id))]


def test_rows_written_together_are_those_written_one_by_one(database_url: str, tmp_path: Path) -> None:
    with closing(Gatepost(tmp_path, database_url=database_url)) as gatepost, gatepost.work() as work:
        rows = [row(work, number) for number in range(COUNT)]
        before = len(written(work))
        insert_records(work.db.connection(), rows)
        together = written(work)[before:]
        for each in rows:
            insert_record(work.db, each)
        assert len(together) == COUNT
        assert together == written(work)[before + COUNT :]


@pytest.mark.parametrize(("count", "statements"), [(1, 1), (8, 1), (64, 1), (73, 3), (COUNT, 2 + 3 + 2)])
def test_sqlite_takes_many_rows_in_few_statements(work: UnitOfWork, count: int, statements: int) -> None:
    connection, sent = work.db.connection(), []

    def note(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(connection, "before_cursor_execute", note)
    insert_records(connection, [row(work, number) for number in range(count)])
    assert len(sent) == statements
