"""The way to the database is cut in the middle of a change: the same request again is safe."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.ambiguous_commits import run

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(200)]


@pytest.mark.spec("R-21")
@pytest.mark.spec("INV-42")
def test_request_is_safe_to_repeat_when_the_database_was_cut_off_in_its_middle(
    tmp_path: Path, postgres_url: str
) -> None:
    report = run(tmp_path, postgres_url, cuts=8)
    assert report.faults == []
    assert report.unavailable > 0
