"""What follows: second uses, lost answers, opposites at the same instant, a cut connection, a crowded file.

Small sizes of `replays.py`, `losses.py` and `contention.py`, which run by hand at any size.
"""

from collections.abc import Iterator

import pytest

from tests.races import contention, losses, replays
from tests.races.consistency import contradictions
from tests.races.stage import Stage, stage
from tests.support.servers import PostgresCluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def on(postgres: PostgresCluster) -> Iterator[Stage]:
    """Three processes on PostgreSQL."""
    with stage("postgres", database_url=postgres.create_database()) as found:
        yield found


@pytest.mark.postgres
@pytest.mark.spec("R-02")
@pytest.mark.spec("R-09")
@pytest.mark.spec("INV-04")
def test_replay_does_exactly_what_it_must_when_it_is_valid_and_when_it_is_not(postgres_url: str) -> None:
    with stage("postgres", database_url=postgres_url, settings=replays.SETTINGS) as short:
        figures, faults = replays.run(short, {"misbound": 100, "valid": 10, "reuses": 3})
    assert faults == []
    assert figures["revocations they caused"] == 0


@pytest.mark.postgres
@pytest.mark.spec("R-07")
@pytest.mark.spec("R-12")
def test_nobody_signs_in_again_when_answers_are_lost(on: Stage) -> None:
    assert losses.lost_answers(on, 15)[1] == []
    assert losses.lossy_clients(on, 6, 20)[1] == []
    assert contradictions(on.database_url) == []


@pytest.mark.postgres
@pytest.mark.spec("R-11")
@pytest.mark.spec("INV-10")
def test_nothing_survives_when_a_refresh_meets_a_revocation(on: Stage) -> None:
    figures, faults = contention.revoked_while_refreshed(on, 40)
    assert faults == []
    assert figures["surviving tokens"] == 0


@pytest.mark.postgres
@pytest.mark.spec("R-10")
def test_family_is_judged_as_before_when_every_process_was_restarted(on: Stage) -> None:
    assert replays.restarted(on, 6)[1] == []


@pytest.mark.postgres
@pytest.mark.spec("R-21")
def test_retry_is_safe_when_the_connection_was_cut_during_the_commit(postgres_url: str) -> None:
    with losses.cut_stage(postgres_url) as (short, wire):
        figures, faults = losses.cut_commits(short, wire, 12)
        faults += contradictions(short.database_url)
    assert faults == []
    assert figures["answers"] == {"503 temporarily_unavailable": 12}


@pytest.mark.spec("R-06")
def test_no_client_hears_of_a_lock_when_32_threads_share_one_file() -> None:
    with stage("sqlite") as crowded:
        figures, faults = contention.crowded_file(crowded, 4)
    assert faults == []
    assert figures["answers"]
