"""What OpenID Connect adds holds when many ask at once: no answer of 500 or more, and everything happens once.

`openid.py` beside this file has the races themselves and runs by hand at any size.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.races.connection import Answer
from tests.races.consistency import count
from tests.races.openid import RACES, SETTINGS, heat, registration_request, run
from tests.races.stage import Stage, stage

pytestmark = [pytest.mark.race, pytest.mark.timeout(200)]

ROUNDS = 3
QUOTA = 25


def _database(request: pytest.FixtureRequest, kind: str) -> str | None:
    return request.getfixturevalue("postgres").create_database() if kind == "postgres" else None


@pytest.fixture(scope="module")
def openid_on(request: pytest.FixtureRequest, kind: str) -> Iterator[Stage]:
    """Three server processes where anybody registers clients."""
    with stage(kind, database_url=_database(request, kind), settings=SETTINGS) as found:
        yield found


@pytest.mark.parametrize("name", RACES)
@pytest.mark.spec("INV-41", "INV-43", "INV-18", "INV-13", "TK-24", "TK-31")
def test_nothing_breaks_and_everything_happens_once_when_twenty_ask_at_once(openid_on: Stage, name: str) -> None:
    tally = run(openid_on, name, ROUNDS)
    assert tally.faults == []
    assert tally.server_errors == 0


def _burst(on: Stage) -> list[Answer]:
    answers = heat(on, [registration_request(on) for _ in range(20)])
    assert {answer.status for answer in answers} <= {201, 429}
    assert all(answer.header("retry-after") for answer in answers if answer.status == 429)
    return answers


@pytest.mark.spec("TK-24", "RFC 7591 §5", "INV-27")
def test_network_registers_exactly_its_quota_when_it_asks_for_more_at_once(
    request: pytest.FixtureRequest, kind: str
) -> None:
    settings = {**SETTINGS, "GATEPOST_REGISTRATION_PER_HOUR": str(QUOTA)}
    with stage(kind, database_url=_database(request, kind), settings=settings) as on:
        made = sum(answer.status == 201 for _ in range(3) for answer in _burst(on))
        assert made == QUOTA
        assert count(on.database_url, "SELECT COUNT(*) FROM registration_tokens") == QUOTA


@pytest.mark.spec("TK-24", "RFC 7591 §5")
def test_no_more_clients_register_than_there_is_room_for_when_many_ask_at_once(
    request: pytest.FixtureRequest, kind: str
) -> None:
    settings = {**SETTINGS, "GATEPOST_REGISTRATION_MAXIMUM": str(QUOTA)}
    with stage(kind, database_url=_database(request, kind), settings=settings) as on:
        made = sum(answer.status == 201 for _ in range(3) for answer in _burst(on))
        # Each process may see the last place free at once; none sees it when the last one was taken before it asked.
        assert QUOTA <= made < QUOTA + 20
        assert {answer.status for answer in _burst(on)} == {429}
