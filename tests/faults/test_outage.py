"""PostgreSQL goes away under load, in each way that it can: clients are asked to come again, and told nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.outage import MODES, broken_promises, run
from tests.support.servers import postgres_cluster

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(200)]


@pytest.mark.spec("R-18")
@pytest.mark.spec("R-19")
@pytest.mark.spec("INV-42")
@pytest.mark.parametrize("mode", MODES)
def test_clients_are_asked_to_come_again_when_the_database_is_away(tmp_path: Path, mode: str) -> None:
    with postgres_cluster() as cluster:
        report = run(tmp_path, cluster, mode=mode, seconds=4, rate=60)
    # A busy machine adds to what is promised of a quiet one; who waited for the database would do so for longer.
    assert broken_promises(report, slack=4.0) == [], str(report)
