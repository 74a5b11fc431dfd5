"""Usability: the one choke point, for every kind of entity in every state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest

from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable, why_unusable
from tests.domain.factories import make_client, make_grant, make_session, make_user

#: How each entity is spoilt, and what is said of it then.
SPOILERS: dict[str, tuple[Callable[[Any, UnitOfWork], object], str]] = {
    "user": (lambda entity, work: setattr(entity, "disabled_at", work.now), "user_disabled"),
    "client": (lambda entity, work: setattr(entity, "disabled_at", work.now), "client_disabled"),
    "session": (lambda entity, work: setattr(entity, "ended_at", work.now), "session_ended"),
    "idle session": (lambda entity, work: setattr(entity, "expires_at", work.now), "session_ended"),
    "grant": (lambda entity, work: setattr(entity, "revoked_at", work.now), "grant_revoked"),
    "old grant": (lambda entity, work: setattr(entity, "expires_at", work.now), "grant_expired"),
}


@pytest.fixture
def entities(work: UnitOfWork) -> Iterator[dict[str, Any]]:
    user, client = make_user(work), make_client(work)
    _, session = make_session(work, user)
    grant = make_grant(work, client, user, session=session)
    yield {"user": user, "client": client, "session": session, "grant": grant}
    work.db.rollback()


def test_everything_is_usable_when_nothing_is_wrong(work: UnitOfWork, entities: dict[str, Any]) -> None:
    for count in range(5):
        for some in combinations(entities.values(), count):
            assert is_usable(work.now, *some)
            assert why_unusable(work.now, *some) is None


@pytest.mark.parametrize("spoilt", SPOILERS)
def test_whole_is_unusable_when_one_part_is(work: UnitOfWork, entities: dict[str, Any], spoilt: str) -> None:
    spoil, reason = SPOILERS[spoilt]
    name = spoilt.split()[-1]
    spoil(entities[name], work)
    for count in range(1, 5):
        for some in combinations(entities.items(), count):
            parts = dict(some)
            assert is_usable(work.now, *parts.values()) is (name not in parts)
            assert why_unusable(work.now, *parts.values()) == (reason if name in parts else None)


@pytest.mark.parametrize("name", ["user", "client", "session", "grant"])
def test_whole_is_unusable_when_one_part_was_deleted(work: UnitOfWork, entities: dict[str, Any], name: str) -> None:
    entities[name] = None
    assert why_unusable(work.now, *entities.values()) == "deleted"


def test_first_reason_is_told_when_there_are_several(work: UnitOfWork, entities: dict[str, Any]) -> None:
    for spoil, name in ((SPOILERS["user"][0], "user"), (SPOILERS["grant"][0], "grant")):
        spoil(entities[name], work)
    assert why_unusable(work.now, entities["grant"], entities["user"]) == "grant_revoked"
    assert why_unusable(work.now, entities["user"], entities["grant"]) == "user_disabled"


@pytest.mark.parametrize("name", ["session", "grant"])
def test_moment_of_expiry_itself_is_too_late(work: UnitOfWork, entities: dict[str, Any], name: str) -> None:
    expiry = entities[name].expires_at
    assert is_usable(expiry - timedelta(microseconds=1), entities[name])
    assert not is_usable(expiry, entities[name])
