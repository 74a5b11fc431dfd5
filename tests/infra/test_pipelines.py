"""Group commit on PostgreSQL: statements of requests at once are sent together, as one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from server.config import Settings
from server.infra.autocommit import Autocommit
from server.infra.database import REQUEST_PATIENCE
from server.infra.turns import turn
from tests.infra.requests_at_once import Requests

pytestmark = pytest.mark.postgres

#: Spends the code and records a token.
REDEEM = text(
    "WITH spent AS (UPDATE codes SET spent = true WHERE id = :id AND NOT spent RETURNING id),"
    " recorded AS (INSERT INTO tokens (code) SELECT id FROM spent RETURNING 1)"
    " SELECT id FROM spent"
)
TOKENS = text("SELECT code FROM tokens ORDER BY number")
TRANSACTIONS = text("SELECT count(DISTINCT CAST(xmin AS text)) FROM tokens")
TABLES = (
    "CREATE TABLE codes (id integer PRIMARY KEY, spent boolean NOT NULL DEFAULT false)",
    "CREATE TABLE tokens (number serial PRIMARY KEY, code integer NOT NULL CHECK (code < 100))",
    "INSERT INTO codes (id) VALUES (1), (2), (3), (4), (5), (6), (7), (8), (100)",
)


class Redemptions(Requests):
    """Requests that redeem codes."""

    def redeem(self, code: int) -> bool:
        """Spends the code and records a token; whether it did."""
        return bool(self.autocommit.together(lambda change: change(REDEEM, {"id": code}), f"{code:03}"))

    def redeem_at_once(self, *codes: int) -> list[Future[object]]:
        """What became of a request for each code."""
        return self.at_once(*(partial(self.redeem, code) for code in codes))

    def tokens(self) -> list[int]:
        """The codes of all tokens, in the order in which they were spent."""
        return [code for (code,) in self.autocommit.read(TOKENS, {})]

    def transactions(self) -> int:
        """How many transactions wrote the tokens."""
        return int(self.autocommit.read(TRANSACTIONS, {})[0][0])


@pytest.fixture
def database(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's connection."""
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in TABLES:
            connection.execute(statement)
        yield connection


@pytest.fixture
def requests(postgres_url: str, database: psycopg.Connection[Any]) -> Iterator[Redemptions]:
    autocommit = Autocommit(Settings(_env_file=None, database_url=postgres_url))
    yield Redemptions(autocommit)
    autocommit.dispose()


@pytest.fixture
def all_gather(monkeypatch: pytest.MonkeyPatch, requests: Redemptions) -> None:
    """The leader waits for everybody."""
    requests.gather_all(monkeypatch)


def test_request_that_is_alone_sends_its_statement_at_once(
    requests: Redemptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.infra.group_commit.time.sleep", pytest.fail)
    monkeypatch.setattr(requests.autocommit, "_rows_of_pipeline", pytest.fail)
    with turn(requests.gate):
        assert requests.redeem(1)
    assert requests.redeem(2), "without a turn, as commands have it"
    assert requests.tokens() == [1, 2]


@pytest.mark.usefixtures("all_gather")
def test_requests_at_once_share_a_transaction_and_each_has_its_own_rows(requests: Redemptions) -> None:
    assert requests.redeem(5)
    outcomes = requests.redeem_at_once(1, 5, 2, 3)
    assert [outcome.result() for outcome in outcomes] == [True, False, True, True]
    assert requests.tokens() == [5, 1, 2, 3]
    assert requests.transactions() == 1 + 1


@pytest.mark.usefixtures("all_gather")
def test_locks_are_taken_in_the_same_order_whoever_comes_first(requests: Redemptions) -> None:
    requests.redeem_at_once(8, 3, 7, 1, 6, 2, 5, 4)
    assert requests.tokens() == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.usefixtures("all_gather")
def test_statement_that_does_not_say_what_it_waits_for_is_sent_alone(requests: Redemptions) -> None:
    def redeem(code: int) -> bool:
        return bool(requests.autocommit.together(lambda change: change(REDEEM, {"id": code})))

    outcomes = requests.at_once(*(partial(redeem, code) for code in (1, 2, 3)))
    assert all(outcome.result() for outcome in outcomes)
    assert requests.transactions() == 3


@pytest.mark.spec("INV-01")
@pytest.mark.usefixtures("all_gather")
def test_one_of_a_group_redeems_when_all_redeem_the_same(requests: Redemptions) -> None:
    outcomes = requests.redeem_at_once(*[1] * 8)
    assert sorted(bool(outcome.result()) for outcome in outcomes) == [False] * 7 + [True]
    assert requests.tokens() == [1]


@pytest.mark.usefixtures("all_gather")
def test_others_are_written_when_one_of_a_group_cannot_be(requests: Redemptions) -> None:
    first, refused, last = requests.redeem_at_once(1, 100, 2)
    assert first.result()
    assert last.result()
    with pytest.raises(IntegrityError):
        refused.result()
    assert sorted(requests.tokens()) == [1, 2]
    assert requests.transactions() == 2, "each had one of its own, as that of all was rolled back"
    assert requests.redeem(3)


@pytest.mark.usefixtures("all_gather")
def test_whole_group_fails_in_time_when_somebody_holds_what_one_of_it_needs(
    requests: Redemptions, database: psycopg.Connection[Any]
) -> None:
    with database.transaction():
        database.execute("UPDATE codes SET spent = true WHERE id = 2")
        outcomes = requests.redeem_at_once(1, 2, 3)
        assert all(isinstance(outcome.exception(REQUEST_PATIENCE), OperationalError) for outcome in outcomes)
    assert requests.tokens() == []
    assert [outcome.result() for outcome in requests.redeem_at_once(1, 2, 3)] == [True, False, True]


@pytest.mark.usefixtures("all_gather")
def test_nothing_is_written_when_the_connection_breaks_before_the_commit(
    requests: Redemptions, database: psycopg.Connection[Any], postgres_url: str
) -> None:
    with ThreadPoolExecutor(1) as threads, psycopg.connect(postgres_url.replace("+psycopg", "")) as holder:
        holder.execute("UPDATE codes SET spent = true WHERE id = 2")
        group = threads.submit(requests.redeem_at_once, 1, 2, 3)
        waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while not database.execute(waiting).fetchall():
            assert not group.done()
        outcomes = group.result()
        holder.rollback()
    assert all(isinstance(outcome.exception(), OperationalError) for outcome in outcomes)
    assert requests.tokens() == []
    assert requests.redeem(1)


@pytest.mark.usefixtures("all_gather")
def test_nobody_goes_on_before_the_group_is_committed(requests: Redemptions, database: psycopg.Connection[Any]) -> None:
    def redeem_and_look(code: int) -> object:
        requests.redeem(code)
        return database.execute("SELECT code FROM tokens WHERE code = %s", (code,)).fetchone()

    outcomes = requests.at_once(*(partial(redeem_and_look, code) for code in range(1, 9)))
    assert [outcome.result() for outcome in outcomes] == [(code,) for code in range(1, 9)]
