"""Group commit on SQLite: requests that write at once share a transaction, and none of them feels it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError

from server.config import Settings
from server.infra import group_commit
from server.infra.autocommit import Autocommit, Change
from server.infra.turns import turn
from server.infra.write_lock import begin_writing, is_held
from tests.infra.requests_at_once import Requests

SPEND = text("UPDATE codes SET spent = 1 WHERE id = :id AND spent = 0 RETURNING id")
RECORD = text("INSERT INTO tokens (code) VALUES (:id)")
TOKENS = text("SELECT code FROM tokens ORDER BY code")


class Redemptions(Requests):
    """Requests that redeem codes."""

    def redeem(self, code: int) -> bool:
        """Spends the code and records a token; whether it did."""
        return self.autocommit.together(partial(self._redeem, code))

    def _redeem(self, code: int, change: Change) -> bool:
        if not change(SPEND, {"id": code}):
            return False
        change(RECORD, {"id": code})
        return True

    def redeem_at_once(self, *codes: int) -> list[Future[object]]:
        """What became of a request for each code."""
        return self.at_once(*(partial(self.redeem, code) for code in codes))

    def tokens(self) -> list[int]:
        """The codes of all tokens."""
        return [code for (code,) in self.autocommit.read(TOKENS, {})]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gatepost.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE codes (id INTEGER PRIMARY KEY, spent INTEGER NOT NULL DEFAULT 0);"
            "CREATE TABLE tokens (code INTEGER NOT NULL CHECK (code < 100));"
            "INSERT INTO codes (id) VALUES (1), (2), (3), (4), (5), (6), (7), (8), (100);"
        )
    connection.close()
    return path


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Another process has the write lock."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture
def requests(path: Path) -> Iterator[Redemptions]:
    autocommit = Autocommit(Settings(_env_file=None, database_url=f"sqlite:///{path}"))
    yield Redemptions(autocommit)
    autocommit.dispose()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """One element for each transaction that was begun."""
    begun = []

    def counted(connection: Connection, *patience: float) -> None:
        begin_writing(connection, *patience)
        begun.append(connection)

    monkeypatch.setattr("server.infra.autocommit.begin_writing", counted)
    return begun


@pytest.fixture
def all_gather(monkeypatch: pytest.MonkeyPatch, requests: Redemptions) -> None:
    """The leader waits for everybody."""
    requests.gather_all(monkeypatch)


def test_request_that_is_alone_writes_at_once(
    requests: Redemptions, begun: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit.time, "sleep", pytest.fail)
    with turn(requests.gate):
        assert requests.redeem(1)
    assert requests.redeem(2), "without a turn, as commands have it"
    assert requests.tokens() == [1, 2]
    assert len(begun) == 2


@pytest.mark.usefixtures("all_gather")
def test_requests_at_once_share_a_transaction(requests: Redemptions, begun: list[Connection]) -> None:
    outcomes = requests.redeem_at_once(*range(1, 9))
    assert [outcome.result() for outcome in outcomes] == [True] * 8
    assert requests.tokens() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(begun) == 1


@pytest.mark.spec("INV-01")
@pytest.mark.usefixtures("all_gather", "begun")
def test_one_of_a_group_redeems_when_all_redeem_the_same(requests: Redemptions) -> None:
    outcomes = requests.redeem_at_once(*[1] * 8)
    assert sorted(bool(outcome.result()) for outcome in outcomes) == [False] * 7 + [True]
    assert requests.tokens() == [1]


@pytest.mark.usefixtures("all_gather")
def test_others_are_written_when_one_of_a_group_cannot_be(requests: Redemptions, begun: list[Connection]) -> None:
    first, refused, last = requests.redeem_at_once(1, 100, 2)
    assert first.result()
    assert last.result()
    with pytest.raises(IntegrityError):
        refused.result()
    assert requests.tokens() == [1, 2]
    spent = requests.autocommit.read(text("SELECT id FROM codes WHERE spent = 1 ORDER BY id"), {})
    assert [code for (code,) in spent] == [1, 2]
    assert len(begun) == 1 + 3


@pytest.mark.usefixtures("all_gather")
def test_whole_group_fails_at_once_when_another_process_writes_for_too_long(
    requests: Redemptions, begun: list[Connection], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert requests.tokens() == []
    monkeypatch.setattr(requests.autocommit._transactions, "_patience", 0.1)
    with writing(path):
        outcomes = requests.redeem_at_once(*range(1, 9))
        assert all(is_held(outcome.exception()) for outcome in outcomes)
        assert requests.tokens() == [], "the connection serves on"
        assert requests.autocommit.scalar("PRAGMA busy_timeout") == 1500
    assert begun == []
    requests.redeem_at_once(*range(1, 9))
    assert requests.tokens() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_others_pass_while_another_process_writes(requests: Redemptions, path: Path) -> None:
    assert requests.tokens() == []
    with ThreadPoolExecutor(1) as threads:
        with writing(path):
            writer = threads.submit(requests.visit, partial(requests.redeem, 1))
            for _ in range(3):
                while not requests.autocommit._transactions._gathering:
                    assert not writer.done()
                with turn(requests.gate):
                    assert requests.tokens() == []
        assert writer.result()
    assert requests.tokens() == [1]


def test_connection_is_given_up_when_the_database_is_busy_in_a_transaction(requests: Redemptions, path: Path) -> None:
    with (
        writing(path),
        contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other,
        pytest.raises(sqlite3.OperationalError) as busy,
    ):
        other.execute("BEGIN IMMEDIATE")

    def fail_as_a_commit_does() -> None:
        raise OperationalError("COMMIT", None, busy.value)

    assert requests.tokens() == []
    given_up = requests.autocommit._connection
    with pytest.raises(OperationalError) as raised, requests.autocommit.transaction():
        fail_as_a_commit_does()
    assert is_held(raised.value)
    assert given_up is not None
    assert given_up.closed
    assert requests.redeem(1)


@pytest.mark.usefixtures("all_gather")
def test_nobody_goes_on_before_the_group_is_committed(requests: Redemptions, path: Path) -> None:
    def redeem_and_look(code: int) -> object:
        requests.redeem(code)
        with contextlib.closing(sqlite3.connect(path)) as other:
            return other.execute("SELECT code FROM tokens WHERE code = ?", (code,)).fetchone()

    outcomes = requests.at_once(*(partial(redeem_and_look, code) for code in range(1, 9)))
    assert [outcome.result() for outcome in outcomes] == [(code,) for code in range(1, 9)]
