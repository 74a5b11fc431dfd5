"""A database that hangs keeps nobody waiting, and is asked by nobody until it is back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from server.config import Settings
from server.infra import circuit_breaker, database
from server.infra.circuit_breaker import CircuitBreaker
from server.infra.database import is_outage, open_engine
from tests.support.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.postgres, pytest.mark.spec("R-19")]

PATIENCE = 1.0
#: What a busy machine may add to it. Without an end to the waiting it would be minutes.
SLACK = 10.0


@pytest.fixture
def circuit(monkeypatch: pytest.MonkeyPatch) -> CircuitBreaker:
    """A circuit of the test's own."""
    breaker = CircuitBreaker()
    breaker.arm()
    monkeypatch.setattr(circuit_breaker, "circuit", breaker)
    return breaker


@pytest.fixture
def path(postgres_url: str) -> Iterator[TcpProxy]:
    url = make_url(postgres_url)
    proxy = TcpProxy((str(url.host), int(url.port or 5432)))
    yield proxy
    proxy.close()


@pytest.fixture
def engine(postgres_url: str, path: TcpProxy, circuit: CircuitBreaker) -> Iterator[Engine]:
    url = make_url(postgres_url).set(port=path.port).render_as_string(hide_password=False)
    engine = open_engine(Settings(_env_file=None, database_url=url), PATIENCE)
    yield engine
    path.heal()
    until(lambda: not circuit.is_open)
    engine.dispose()


def ask(engine: Engine) -> float:
    """Runs a statement; the seconds that took."""
    began = time.monotonic()
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return time.monotonic() - began


def failure(engine: Engine) -> float:
    """Runs a statement that must fail as an outage; the seconds that took."""
    began = time.monotonic()
    with pytest.raises(OperationalError) as caught:
        ask(engine)
    assert is_outage(caught.value)
    return time.monotonic() - began


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_call_is_given_up_when_no_answer_comes(engine: Engine, path: TcpProxy, circuit: CircuitBreaker) -> None:
    ask(engine)
    path.black_hole()
    assert PATIENCE <= failure(engine) < PATIENCE + SLACK
    assert (circuit.is_open, circuit.openings) == (True, 1)


def test_nobody_waits_when_the_circuit_is_open(engine: Engine, path: TcpProxy) -> None:
    ask(engine)
    path.black_hole()
    failure(engine)
    assert max(failure(engine) for _ in range(20)) < PATIENCE


def test_connection_that_was_open_before_is_not_asked_when_the_circuit_is_open(engine: Engine, path: TcpProxy) -> None:
    with engine.connect() as idle:
        idle.execute(text("SELECT 1"))
        idle.commit()
        path.black_hole()
        failure(engine)
        began = time.monotonic()
        with pytest.raises(OperationalError):
            idle.execute(text("SELECT 1"))
        assert time.monotonic() - began < PATIENCE


def test_database_is_used_again_when_it_is_back(engine: Engine, path: TcpProxy, circuit: CircuitBreaker) -> None:
    ask(engine)
    path.black_hole()
    failure(engine)
    path.heal()
    until(lambda: not circuit.is_open)
    ask(engine)
    assert circuit.openings == 1


def test_circuit_opens_when_no_connection_can_be_made(engine: Engine, path: TcpProxy, circuit: CircuitBreaker) -> None:
    path.black_hole()
    assert failure(engine) < 2 + SLACK
    assert circuit.is_open


def test_statement_is_ended_by_the_database_when_it_takes_too_long(
    postgres_url: str, circuit: CircuitBreaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may take longer than the usual quarter of a second to tell of it.
    monkeypatch.setattr(database, "_STATEMENT_MARGIN", SLACK - PATIENCE)
    engine = open_engine(Settings(_env_file=None, database_url=postgres_url), SLACK)
    with pytest.raises(OperationalError, match="statement timeout") as caught, engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(30)"))
    engine.dispose()
    assert is_outage(caught.value)
    assert not circuit.is_open


def test_statement_has_less_time_than_the_answer(engine: Engine) -> None:
    with engine.connect() as connection:
        told = connection.execute(text("SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'"))
        assert 0 < told.scalar_one() < PATIENCE * 1000


def test_circuit_stays_closed_when_nobody_would_close_it_again(
    engine: Engine, path: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    unarmed = CircuitBreaker()
    monkeypatch.setattr(circuit_breaker, "circuit", unarmed)
    ask(engine)
    path.black_hole()
    failure(engine)
    assert not unarmed.is_open


def test_closed_connection_is_replaced_when_the_path_broke_while_it_lay_idle(
    engine: Engine, path: TcpProxy, circuit: CircuitBreaker
) -> None:
    ask(engine)
    path.cut()
    ask(engine)
    assert circuit.openings == 0
