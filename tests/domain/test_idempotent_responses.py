"""Answers that are kept: one act for one key, on both databases, however many requests come at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from server.domain.errors import Conflict
from server.domain.idempotent_responses import IdempotentResponse, KeptResponse, begin_once, keep_response
from server.domain.unit_of_work import UnitOfWork
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock


def test_answer_comes_again_when_the_request_does(work: UnitOfWork) -> None:
    assert begin_once(work, "who", "what") is None
    keep_response(work, "who", 201, b'{"key": "a secret"}')
    assert begin_once(work, "who", "what") == KeptResponse(201, b'{"key": "a secret"}')
    assert begin_once(work, "somebody else", "what") is None


def test_answer_without_a_body_comes_again_when_the_request_does(work: UnitOfWork) -> None:
    begin_once(work, "who", "what")
    keep_response(work, "who", 204, b"")
    assert begin_once(work, "who", "what") == KeptResponse(204, b"")


def test_request_is_refused_when_another_has_its_key(work: UnitOfWork) -> None:
    begin_once(work, "who", "what")
    with pytest.raises(Conflict, match="still being worked on"):
        begin_once(work, "who", "what")
    keep_response(work, "who", 200, b"{}")
    with pytest.raises(Conflict, match="Use a new key"):
        begin_once(work, "who", "something else")


def test_key_is_new_again_when_a_day_has_passed(work: UnitOfWork, clock: FrozenClock) -> None:
    begin_once(work, "who", "what")
    keep_response(work, "who", 200, b"{}")
    clock.advance(86401)
    assert begin_once(work, "who", "something else") is None
    keep_response(work, "who", 200, b"new")
    assert begin_once(work, "who", "something else") == KeptResponse(200, b"new")


@pytest.mark.spec("K-03")
def test_row_tells_nothing_when_it_is_read_by_others(work: UnitOfWork) -> None:
    begin_once(work, "api_key:key_1", "what")
    keep_response(work, "api_key:key_1", 201, b"gp_live_secret")
    row = work.db.query(IdempotentResponse).one()
    assert "gp_live_secret" not in str(vars(row))
    assert "key_1" not in str(vars(row))


def test_one_of_many_acts_when_they_come_at_once(database_url: str, tmp_path: Path) -> None:
    gatepost = Gatepost(tmp_path, database_url=database_url)
    answers: list[str] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        with gatepost.work() as work:
            kept = begin_once(work, "who", "what")
            if kept is None:
                answers.append("acted")
                keep_response(work, "who", 200, b"done")
            else:
                answers.append(kept.body.decode())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gatepost.close()
    assert sorted(answers) == ["acted"] + ["done"] * 7
