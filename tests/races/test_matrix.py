"""The disable matrix on three live processes: whatever ended is dead on each of them after a second.

`tests/flows/test_disabled.py` has the same endings within one process; `matrix.py` beside this file runs by hand.
"""

import pytest

from tests.races import matrix
from tests.races.stage import stage

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(300)]


@pytest.mark.spec("INV-10")
@pytest.mark.spec("INV-11")
def test_nothing_that_ended_works_on_any_process_when_a_second_has_passed(postgres_url: str) -> None:
    with stage("postgres", database_url=postgres_url) as on:
        cells, faults = matrix.run(on)
    assert faults == []
    assert set(cells) == set(matrix.ENDINGS)
    assert all(cells.values())
