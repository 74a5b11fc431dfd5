"""The thread that empties the outbox: what it sends, how it waits, and that no receiver is in another's way."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from server.domain import outbox
from server.domain.outbox import OutboxMessage
from server.infra import draining
from server.infra.outbound_http import FetchFailed
from server.protocol import backchannel_logout
from server.web.outbox_worker import OutboxWorker
from tests.support.application import Gatepost
from tests.support.flow import jwt_claims

#: Longer than anything takes on a machine that is busy with other things.
PATIENCE = 40.0


class Receivers:
    """Clients' ends of the wire: each answers as its URL says, and what it got is counted."""

    def __init__(self) -> None:
        self.got: Counter[str] = Counter()
        self.tokens: list[str] = []
        self.at_once: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        #: Until it is set, receivers that hang do.
        self.released = threading.Event()
        self.answers: dict[str, Callable[[], int]] = {}
        self._lock = threading.Lock()

    def post_form(self, url: str, fields: dict[str, str]) -> int:
        name = url.rpartition("/")[2]
        with self._lock:
            self.got[name] += 1
            self.tokens.append(fields["logout_token"])
            self.at_once[name] += 1
            self.most_at_once[name] = max(self.most_at_once[name], self.at_once[name])
        try:
            return self.answers.get(name, lambda: 200)()
        finally:
            with self._lock:
                self.at_once[name] -= 1

    def hang(self) -> int:
        self.released.wait(PATIENCE)
        raise FetchFailed("no answer", None)


@pytest.fixture
def receivers() -> Receivers:
    return Receivers()


@pytest.fixture
def start(gatepost: Gatepost, receivers: Receivers) -> Iterator[Callable[[], OutboxWorker]]:
    """Starts workers that end with the test."""
    workers = []

    def start_worker() -> OutboxWorker:
        runtime = replace(gatepost.runtime, outbound_http=receivers)  # type: ignore[arg-type]
        worker = OutboxWorker(runtime, interval_seconds=0.02)
        worker.start()
        workers.append(worker)
        return worker

    yield start_worker
    receivers.released.set()
    for worker in workers:
        worker.stop()
        worker.join(PATIENCE)


def put(gatepost: Gatepost, name: str, count: int = 1) -> None:
    client_id = f"client-{name}"
    with gatepost.work() as work:
        told = {"sub": "usr_ada", "sid": "told", "session_id": "s"}
        payload = [(client_id, {**told, "jti": f"{name}-{each}"}) for each in range(count)]
        outbox.put(work, "backchannel_logout", payload)


def add(gatepost: Gatepost, *names: str) -> None:
    for name in names:
        gatepost.add_client(client_id=f"client-{name}", backchannel_logout_uri=f"https://app.example/{name}")


def left(gatepost: Gatepost) -> Counter[str]:
    with gatepost.work() as work:
        return Counter(work.db.scalars(select(OutboxMessage.client_id)))


def wait_until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_messages_are_sent_and_forgotten_when_they_arrived(
    gatepost: Gatepost, receivers: Receivers, start: Callable[[], OutboxWorker]
) -> None:
    add(gatepost, "one", "two")
    start()
    put(gatepost, "one", 3)
    put(gatepost, "two")
    wait_until(lambda: not left(gatepost))
    assert receivers.got == {"one": 3, "two": 1}
    assert {jwt_claims(token)["jti"] for token in receivers.tokens} == {"one-0", "one-1", "one-2", "two-0"}
    rows = gatepost.audit_rows("logout_token.delivered")
    assert sorted(row.client_id or "" for row in rows) == ["client-one"] * 3 + ["client-two"]
    assert rows[0].details == {"session_id": "s", "attempts": 1}


@pytest.mark.spec("R-38")
def test_message_is_given_up_when_the_receiver_refuses_it(
    gatepost: Gatepost, receivers: Receivers, start: Callable[[], OutboxWorker]
) -> None:
    add(gatepost, "picky")
    receivers.answers["picky"] = lambda: 400
    put(gatepost, "picky")
    start()
    wait_until(lambda: not left(gatepost))
    assert receivers.got["picky"] == 1
    assert len(gatepost.audit_rows("logout_token.refused")) == 1


@pytest.mark.spec("R-37")
@pytest.mark.spec("R-38")
def test_message_is_sent_again_and_later_each_time_when_the_receiver_is_in_trouble(
    gatepost: Gatepost, receivers: Receivers, start: Callable[[], OutboxWorker]
) -> None:
    add(gatepost, "ill")
    answers = iter([500, 503, 200])
    receivers.answers["ill"] = lambda: next(answers)
    put(gatepost, "ill")
    start()
    for attempt, pause in ((1, 1.5), (2, 3)):
        wait_until(lambda attempt=attempt: receivers.got["ill"] == attempt)
        # Settled, it waits for its pause.
        wait_until(lambda: are_put_off(gatepost, 1))
        assert receivers.got["ill"] == attempt
        gatepost.clock.advance(pause)
    wait_until(lambda: not left(gatepost))
    assert gatepost.audit_rows("logout_token.delivered")[0].details["attempts"] == 3
    assert len({jwt_claims(token)["jti"] for token in receivers.tokens}) == 1
    assert len({jwt_claims(token)["iat"] for token in receivers.tokens}) > 1


def are_put_off(gatepost: Gatepost, count: int) -> bool:
    """Whether so many messages are there, and none is due or being sent: a lease is longer than the first pauses."""
    with gatepost.work() as work:
        rows = work.db.scalars(select(OutboxMessage)).all()
        pauses = [(row.next_attempt_at - work.now).total_seconds() for row in rows]
    return len(pauses) == count and all(0 < pause < 10 for pause in pauses)


def test_message_is_given_up_when_its_day_is_over(
    gatepost: Gatepost, receivers: Receivers, start: Callable[[], OutboxWorker]
) -> None:
    add(gatepost, "gone")
    receivers.answers["gone"] = lambda: 500
    put(gatepost, "gone")
    gatepost.clock.advance(outbox.LIFETIME.total_seconds() - 0.5)
    start()
    wait_until(lambda: not left(gatepost))
    assert len(gatepost.audit_rows("logout_token.expired")) == 1


@pytest.mark.spec("R-37")
@pytest.mark.spec("R-38")
def test_receivers_that_hang_delay_nobody(
    gatepost: Gatepost, receivers: Receivers, start: Callable[[], OutboxWorker]
) -> None:
    dead, alive = [f"dead{number}" for number in range(6)], [f"alive{number}" for number in range(6)]
    add(gatepost, *dead, *alive)
    for name in dead:
        receivers.answers[name] = receivers.hang
        put(gatepost, name, 20)
    for name in alive:
        put(gatepost, name, 20)
    start()
    wait_until(lambda: all(receivers.got[name] == 20 for name in alive))
    assert not receivers.released.is_set()
    assert max(receivers.most_at_once.values()) <= 4
    assert all(receivers.got[name] <= 4 for name in dead)


def test_receiver_gets_one_attempt_at_once_after_it_did_not_answer(
    gatepost: Gatepost, receivers: Receivers, start: Callable[[], OutboxWorker]
) -> None:
    def drop() -> int:
        raise FetchFailed("no answer", None)

    add(gatepost, "ill")
    receivers.answers["ill"] = drop
    put(gatepost, "ill", 4)
    start()
    wait_until(lambda: receivers.got["ill"] == 4)
    wait_until(lambda: are_put_off(gatepost, 4))
    receivers.most_at_once.clear()
    receivers.answers["ill"] = receivers.hang
    gatepost.clock.advance(10)
    wait_until(lambda: receivers.got["ill"] == 5)
    time.sleep(0.2)
    assert receivers.got["ill"] == 5
    assert receivers.most_at_once["ill"] == 1


@pytest.mark.spec("R-39")
def test_nothing_is_sent_twice_when_several_processes_share_the_outbox(
    gatepost: Gatepost, receivers: Receivers, start: Callable[[], OutboxWorker]
) -> None:
    names = [f"app{number}" for number in range(5)]
    add(gatepost, *names)
    for _ in range(3):
        start()
    for name in names:
        put(gatepost, name, 20)
    wait_until(lambda: not left(gatepost))
    assert receivers.got == dict.fromkeys(names, 20)


@pytest.mark.spec("R-39")
def test_message_is_sent_by_another_process_when_the_first_one_died_over_it(
    gatepost: Gatepost, receivers: Receivers, start: Callable[[], OutboxWorker]
) -> None:
    add(gatepost, "app")
    put(gatepost, "app")
    with gatepost.work() as work:
        assert outbox.lease_due(work, "backchannel_logout", 1, 1)
    start()
    time.sleep(0.1)
    assert receivers.got["app"] == 0
    gatepost.clock.advance(15)
    wait_until(lambda: not left(gatepost))
    assert receivers.got["app"] == 1


def test_message_is_forgotten_when_its_client_takes_none_any_more(
    gatepost: Gatepost, receivers: Receivers, start: Callable[[], OutboxWorker]
) -> None:
    add(gatepost, "app")
    put(gatepost, "app")
    gatepost.change_client("client-app", backchannel_logout_uri=None)
    start()
    wait_until(lambda: not left(gatepost))
    assert receivers.got["app"] == 0


def test_nothing_is_begun_when_the_server_drains(
    gatepost: Gatepost,
    receivers: Receivers,
    start: Callable[[], OutboxWorker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(draining, "is_draining", lambda: True)
    add(gatepost, "app")
    put(gatepost, "app")
    start()
    time.sleep(0.1)
    assert receivers.got["app"] == 0
    monkeypatch.undo()
    wait_until(lambda: not left(gatepost))


def test_others_go_out_when_one_message_cannot_be_made(
    gatepost: Gatepost,
    receivers: Receivers,
    start: Callable[[], OutboxWorker],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    original = backchannel_logout.prepare

    def prepare(work: Any, message: Any) -> Any:
        if message.client_id == "client-odd":
            raise RuntimeError("cannot")
        return original(work, message)

    monkeypatch.setattr(backchannel_logout, "prepare", prepare)
    add(gatepost, "odd", "app")
    put(gatepost, "odd")
    put(gatepost, "app")
    start()
    wait_until(lambda: left(gatepost) == {"client-odd": 1})
    assert receivers.got == {"app": 1}
    assert "a logout token could not be made" in caplog.text


def test_thread_goes_on_when_the_database_or_anything_else_fails(
    gatepost: Gatepost,
    receivers: Receivers,
    start: Callable[[], OutboxWorker],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with gatepost.work() as work:
        work.db.connection().exec_driver_sql("ALTER TABLE outbox RENAME TO elsewhere")
    add(gatepost, "app")
    with caplog.at_level(logging.WARNING, "server.web.outbox_worker"):
        start()
        wait_until(lambda: "the outbox waits for the database: OperationalError" in caplog.text)
        with gatepost.work() as work:
            work.db.connection().exec_driver_sql("ALTER TABLE elsewhere RENAME TO outbox")
        faults = iter([RuntimeError("odd")])
        original = outbox.is_due

        def is_due(work: Any) -> bool:
            for fault in faults:
                raise fault
            return original(work)

        monkeypatch.setattr(outbox, "is_due", is_due)
        wait_until(lambda: "the outbox met a fault" in caplog.text)
    put(gatepost, "app")
    wait_until(lambda: receivers.got["app"] == 1)


def test_result_is_kept_until_the_database_knows_it(
    gatepost: Gatepost,
    receivers: Receivers,
    start: Callable[[], OutboxWorker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    add(gatepost, "app")
    put(gatepost, "app")
    on_its_way, may_answer = threading.Event(), threading.Event()

    def answer() -> int:
        on_its_way.set()
        may_answer.wait(PATIENCE)
        return 200

    receivers.answers["app"] = answer
    start()
    assert on_its_way.wait(PATIENCE)
    with gatepost.work() as work:
        work.db.connection().exec_driver_sql("ALTER TABLE outbox RENAME TO elsewhere")
    may_answer.set()
    wait_until(lambda: "the outbox waits for the database" in caplog.text)
    with gatepost.work() as work:
        work.db.connection().exec_driver_sql("ALTER TABLE elsewhere RENAME TO outbox")
    wait_until(lambda: not left(gatepost))
    assert receivers.got["app"] == 1
