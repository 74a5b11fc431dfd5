"""Audit rows that are written many at a time: none is lost, none holds up another, and nobody waits for them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from server.config import Settings
from server.domain import audit_log, audit_queue
from server.domain.actor import Actor
from server.domain.audit_events import AuditEvent
from server.domain.audit_queue import AuditQueue
from server.domain.audit_records import AuditRecord
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import open_engine
from server.infra.keyring import create_keyring
from server.infra.migrations import upgrade
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock
from tests.support.flow import basic
from tests.support.servers import clean_environment, start_server

ACTOR = Actor("client", "a-client", "2001:db8::1", "curl/8 \u00e9 \u2028 \"'", "req_9")


def eventually(holds: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def rows_in(engine: Engine) -> list[AuditRecord]:
    with Session(engine) as db:
        return list(db.scalars(select(AuditRecord).where(AuditRecord.event == "token.issued").order_by(AuditRecord.id)))


def issue(work: UnitOfWork, **details: audit_log.Detail) -> None:
    audit_log.record_soon(work, AuditEvent.TOKEN_ISSUED, client_id="a-client", **details)


@pytest.fixture
def queue(gatepost: Gatepost) -> Iterator[AuditQueue]:
    queue = AuditQueue()
    queue.start(gatepost.settings)
    yield queue
    queue.stop()


@pytest.fixture
def queued(queue: AuditQueue, work: UnitOfWork) -> UnitOfWork:
    return replace(work, runtime=replace(work.runtime, audit_queue=queue), actor=ACTOR)


def test_row_arrives_within_milliseconds_and_beside_the_transaction(gatepost: Gatepost, queued: UnitOfWork) -> None:
    issue(queued, scopes=["notes:read"], count=2, none=None)
    assert not queued.db.in_transaction()
    eventually(lambda: rows_in(gatepost.engine))
    (row,) = rows_in(gatepost.engine)
    assert (row.at, row.actor_kind, row.actor_id, row.client_id) == (queued.now, "client", "a-client", "a-client")
    assert (row.ip, row.user_agent, row.request_id) == (ACTOR.ip, ACTOR.user_agent, ACTOR.request_id)
    assert row.details == {"scopes": ["notes:read"], "count": 2, "none": None}


def test_rows_that_come_while_others_are_written_gather_for_the_next_time(
    queued: UnitOfWork, queue: AuditQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, write = [], audit_queue._Writer._write

    def write_while_another_comes(writer: Any, rows: list[Any]) -> None:
        steps.append(f"{len(rows)} written")
        if len(steps) == 2:
            issue(queued)
            issue(queued)
        write(writer, rows)

    patient = SimpleNamespace(sleep=lambda _seconds: steps.append("gathering"), monotonic=time.monotonic)
    monkeypatch.setattr(audit_queue, "time", patient)
    monkeypatch.setattr(audit_queue._Writer, "_write", write_while_another_comes)
    issue(queued)
    eventually(lambda: len(steps) >= 4)
    assert steps[:4] == ["gathering", "1 written", "gathering", "2 written"]


def test_rows_keep_their_order_and_their_number_when_many_threads_write(
    gatepost: Gatepost, queued: UnitOfWork, queue: AuditQueue
) -> None:
    def write(thread: int) -> None:
        for number in range(200):
            issue(queued, thread=thread, number=number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.stop()
    written = [(row.details["thread"], row.details["number"]) for row in rows_in(gatepost.engine)]
    assert len(written) == 800
    for thread in range(4):
        assert [number for of, number in written if of == thread] == list(range(200))


def test_row_is_written_in_the_transaction_when_no_thread_empties_the_queue(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        issue(work)
        assert work.db.in_transaction()
    assert len(rows_in(gatepost.engine)) == 1


def test_row_is_written_in_the_transaction_when_the_queue_has_ended(
    gatepost: Gatepost, queued: UnitOfWork, queue: AuditQueue
) -> None:
    queue.stop()
    issue(queued)
    queued.db.commit()
    assert len(rows_in(gatepost.engine)) == 1


def test_row_is_written_in_the_transaction_when_the_queue_is_full(
    gatepost: Gatepost, queued: UnitOfWork, queue: AuditQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_queue, "CAPACITY", 2)
    may_write = threading.Event()
    # The writer gathers rows until the test has looked, however long that takes.
    gathering = SimpleNamespace(sleep=lambda _: may_write.wait(30), monotonic=time.monotonic)
    monkeypatch.setattr(audit_queue, "time", gathering)
    try:
        for number in range(3):
            issue(queued, number=number)
        assert queued.db.in_transaction()
        queued.db.commit()
    finally:
        may_write.set()
    queue.stop()
    assert sorted(row.details["number"] for row in rows_in(gatepost.engine)) == [0, 1, 2]


def test_rows_wait_when_the_database_is_away_and_are_written_when_it_is_back(
    gatepost: Gatepost, queued: UnitOfWork, queue: AuditQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_queue, "_RETRY_SECONDS", 0.05)
    with gatepost.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_events RENAME TO away"))
    issue(queued, number=1)
    issue(queued, number=2)
    time.sleep(0.2)
    assert len(queue) == 2
    with gatepost.engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO audit_events"))
    eventually(lambda: not len(queue))
    assert [row.details["number"] for row in rows_in(gatepost.engine)] == [1, 2]


def test_ending_gives_up_after_some_seconds_when_the_database_stays_away(
    gatepost: Gatepost,
    queued: UnitOfWork,
    queue: AuditQueue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(audit_queue, "LAST_TRY_SECONDS", 0.1)
    with gatepost.engine.begin() as connection:
        connection.execute(text("DROP TABLE audit_events"))
    issue(queued)
    queue.stop()
    assert "1 audit rows were lost: the database did not answer" in caplog.text


def test_moment_that_is_none_holds_up_no_other_row(
    gatepost: Gatepost, queued: UnitOfWork, queue: AuditQueue, caplog: pytest.LogCaptureFixture
) -> None:
    issue(queued, number=1)
    row = audit_log.row_of(queued, AuditEvent.TOKEN_ISSUED)
    assert queue.offer({**row, "at": "noon"})
    issue(queued, number=2)
    eventually(lambda: not len(queue))
    assert [row.details["number"] for row in rows_in(gatepost.engine)] == [1, 2]
    assert "an audit row token.issued cannot be written" in caplog.text


def test_row_that_cannot_be_written_holds_up_no_other(
    gatepost: Gatepost, queued: UnitOfWork, queue: AuditQueue, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        issue(queued, number=number if number != 2 else object())  # type: ignore[arg-type]
    queue.stop()
    assert [row.details["number"] for row in rows_in(gatepost.engine)] == [0, 1, 3, 4]
    assert "an audit row token.issued cannot be written" in caplog.text


#: A server's worker ends like this: the main thread returns, and no exit handler runs.
WORKER = """
import multiprocessing, sys
from server.config import Settings
from server.domain.audit_queue import AuditQueue
from tests.support.clock import FrozenClock

def work():
    queue = AuditQueue()
    queue.start(Settings(_env_file=None, database_url=sys.argv[1]))
    row = dict.fromkeys(("actor_id", "user_id", "client_id", "ip", "user_agent", "request_id"))
    row |= {"at": FrozenClock().now(), "event": "token.issued", "actor_kind": "client", "details": {}}
    for _ in range(100):
        assert queue.offer(dict(row))

child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
work()
"""


def test_last_rows_are_written_when_a_process_ends(gatepost: Gatepost) -> None:
    url = gatepost.settings.database_url.get_secret_value()
    subprocess.run([sys.executable, "-c", WORKER, url], check=True, timeout=60, env=clean_environment())
    assert len(rows_in(gatepost.engine)) == 200


@pytest.mark.slow
def test_every_token_has_its_row_when_the_server_was_asked_to_end(tmp_path: Path) -> None:
    settings = {"GATEPOST_SCOPES": '{"notes:read": "Read your notes"}'}
    with start_server(tmp_path, workers=2, settings=settings) as server:
        words = ("clients", "create", "A machine", "--type", "machine", "--client-id", "robot", "--scope", "notes:read")
        headers = basic("robot", server.run_json(*words)["client_secret"])
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}/oauth/token", data=b"grant_type=client_credentials", headers=headers
        )
        for _ in range(60):
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.status == 200
        assert server.stop() == 0
    connection = sqlite3.connect(tmp_path / "gatepost.sqlite")
    (count,) = connection.execute("SELECT count(*) FROM audit_events WHERE event = 'token.issued'").fetchone()
    connection.close()
    assert count == 60


@pytest.mark.postgres
def test_rows_are_the_same_when_the_database_is_postgresql(postgres_url: str, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, database_url=postgres_url, keys_dir=tmp_path / "keys")
    create_keyring(settings.keys_dir)
    upgrade(settings)
    queue = AuditQueue()
    queue.start(settings)
    row = {
        "at": FrozenClock().now(),
        "event": "token.issued",
        "actor_kind": "client",
        "actor_id": None,
        "user_id": None,
        "client_id": "a-client",
        "ip": ACTOR.ip,
        "user_agent": ACTOR.user_agent,
        "request_id": "req_1",
        "details": {"scopes": ["a", "b"], "none": None},
    }
    # PostgreSQL's text holds no NUL: alone, that row is left out.
    for values in (row, {**row, "user_agent": "\0"}, {**row, "request_id": "req_2"}):
        assert queue.offer(values)
    engine = open_engine(settings)
    eventually(lambda: not len(queue))
    # A table that is not there is no fault of the rows.
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_events RENAME TO away"))
    assert queue.offer({**row, "request_id": "req_3"})
    time.sleep(0.2)
    assert len(queue) == 1
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO audit_events"))
    queue.stop()
    first, second, third = rows_in(engine)
    engine.dispose()
    assert {name: getattr(first, name) for name in row} == row
    assert (second.request_id, third.request_id) == ("req_2", "req_3")
