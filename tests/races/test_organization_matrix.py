"""The disable matrix of organizations on three live processes; `organization_matrix.py` here runs by hand."""

import pytest

from tests.races import organization_matrix as matrix
from tests.races.stage import stage

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(900)]


@pytest.mark.spec("INV-10", "INV-11")
@pytest.mark.spec("K-06", "K-12")
def test_nothing_that_ended_works_on_any_process_when_a_second_has_passed(postgres_url: str) -> None:
    with stage("postgres", database_url=postgres_url, settings=matrix.SETTINGS) as on:
        cells, faults = matrix.run(on)
    assert faults == []
    assert set(cells) == set(matrix.ENDINGS)
    assert all(cells.values())
