"""Nothing is half-written, and nobody signs in again, although processes are killed all the time.

`kills.py` beside this file runs by hand with as many kills as one likes.
"""

import pytest

from tests.races import kills
from tests.races.stage import stage

pytestmark = [pytest.mark.race, pytest.mark.timeout(200)]

KILLS = 12


@pytest.mark.spec("R-03")
@pytest.mark.spec("INV-01")
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_database_is_consistent_when_processes_are_killed_under_traffic(
    request: pytest.FixtureRequest, kind: str
) -> None:
    url = request.getfixturevalue("postgres").create_database() if kind == "postgres" else None
    with stage(kind, workers=kills.WORKERS, database_url=url) as on:
        figures, faults = kills.run(on, KILLS, seed=7)
    assert faults == []
    assert figures["kills"] == KILLS
    assert figures["refreshes"]
