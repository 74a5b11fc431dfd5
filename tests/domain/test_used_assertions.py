"""An assertion counts once, whoever asks, whatever the request comes to."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.domain.actor import OPERATOR
from server.domain.unit_of_work import UnitOfWork
from server.domain.used_assertions import UsedAssertion, use_assertion
from tests.support.application import Gatepost


@pytest.fixture
def outside(gatepost: Gatepost) -> UnitOfWork:
    """A work that has begun no transaction, as requests have none when they come."""
    return UnitOfWork.begin(gatepost.runtime, Session(gatepost.engine), OPERATOR)


def rows(gatepost: Gatepost) -> int:
    with gatepost.work() as work:
        return work.db.scalar(select(func.count()).select_from(UsedAssertion)) or 0


@pytest.mark.spec("TK-07")
def test_assertion_is_used_once(outside: UnitOfWork, gatepost: Gatepost) -> None:
    until = outside.now + timedelta(seconds=60)
    assert use_assertion(outside, "a", "jti", until)
    assert not use_assertion(outside, "a", "jti", until)
    assert not use_assertion(outside, "a", "jti", until + timedelta(seconds=1))
    assert rows(gatepost) == 1


def test_assertion_stays_used_when_the_request_is_rolled_back(outside: UnitOfWork, gatepost: Gatepost) -> None:
    assert use_assertion(outside, "a", "jti", outside.now)
    assert not outside.is_in_transaction
    outside.db.rollback()
    assert not use_assertion(outside, "a", "jti", outside.now)


def test_assertion_stays_used_when_the_request_has_begun_a_transaction_and_rolls_back(work: UnitOfWork) -> None:
    for is_first in (True, False):
        work.db.execute(select(UsedAssertion))
        assert use_assertion(work, "a", "jti", work.now) is is_first
        work.db.rollback()


def test_clients_and_identifiers_are_kept_apart(outside: UnitOfWork) -> None:
    for client_id, jti in (("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"), ('a", "', "bc"), ("a", '", "bc')):
        assert use_assertion(outside, client_id, jti, outside.now)


@pytest.mark.parametrize("jti", ["\ud800", "\0", "x" * 20_000, "ä", "'; DROP TABLE used_assertions; --"])
def test_identifier_may_be_any_text(outside: UnitOfWork, jti: str) -> None:
    assert use_assertion(outside, "a", jti, outside.now)
    assert not use_assertion(outside, "a", jti, outside.now)


def test_identifier_itself_is_not_stored(outside: UnitOfWork, gatepost: Gatepost) -> None:
    use_assertion(outside, "a-client", "an-identifier", outside.now)
    with gatepost.work() as work:
        (stored,) = work.db.scalars(select(UsedAssertion)).all()
    assert len(stored.id) == 64
    assert stored.expires_at == outside.now
