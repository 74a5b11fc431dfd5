"""Single-use artefacts stay single-use when many clients present them at once to three server processes.

The same race against a deliberately naive server is lost, so that a pass means something. `race.py` beside this file is
the racing itself and runs by hand at any size.
"""

import pytest

from tests.races.consistency import contradictions
from tests.races.race import Lane, contest, promises_broken
from tests.races.stage import Minter, Stage

pytestmark = [pytest.mark.race, pytest.mark.timeout(200)]

CLIENTS = 20
CODES = 30
REFRESH_TOKENS = 20


@pytest.mark.spec("RFC 6749 §4.1.2")
@pytest.mark.spec("R-01")
@pytest.mark.spec("INV-01")
def test_code_has_exactly_one_success_when_twenty_redeem_it_at_once(on: Stage) -> None:
    tally = contest(on, "codes", CODES, CLIENTS)
    assert promises_broken(tally) == []
    assert tally.exactly_one == CODES
    assert tally.outcomes == {"200": CODES, "400 invalid_grant": CODES * (CLIENTS - 1)}
    # `promises_broken` has the first answer after the last: it must say so, however long a busy machine takes over it.
    assert tally.slowest_revocation <= 10
    assert contradictions(on.database_url) == []


@pytest.mark.spec("RFC 9700 §4.14.2")
@pytest.mark.spec("R-08")
@pytest.mark.spec("INV-03")
def test_refresh_token_has_exactly_one_successor_when_twenty_use_it_at_once(on: Stage) -> None:
    tally = contest(on, "refresh", REFRESH_TOKENS, CLIENTS)
    assert promises_broken(tally) == []
    assert tally.exactly_one == REFRESH_TOKENS
    assert tally.outcomes == {"200": REFRESH_TOKENS * CLIENTS}
    assert tally.identical_retries == REFRESH_TOKENS * (CLIENTS - 1)
    assert contradictions(on.database_url) == []


def test_race_is_lost_when_the_server_checks_before_it_acts(naive_on: Stage) -> None:
    codes = contest(naive_on, "codes", CODES, CLIENTS)
    assert codes.more_than_one > 0
    assert codes.faults
    assert any(fault.startswith("INV-01") for fault in contradictions(naive_on.database_url))
    refresh = contest(naive_on, "refresh", REFRESH_TOKENS, CLIENTS)
    assert refresh.more_than_one > 0
    assert refresh.faults


@pytest.mark.spec("RFC 7009 §2.2")
def test_revocation_is_idempotent_when_twenty_revoke_at_once(on: Stage) -> None:
    lane, minter = Lane(on, CLIENTS), Minter(on)
    for number in range(5):
        given = minter.tokens()
        answers = [lane.heat("/oauth/revoke", {"token": given[kind]}) for kind in ("access_token", "refresh_token")]
        assert {answer.status for heat in answers for answer in heat} == {200}
        assert not on.is_active(given["access_token"], number)
    lane.close()
