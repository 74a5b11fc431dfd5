"""Replicas are restarted behind nginx, under load, and no request notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.rolling_restarts import REPLICAS, restart_all

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.mark.postgres
@pytest.mark.spec("R-27")
def test_no_request_fails_when_replicas_are_restarted_in_the_documented_order(
    tmp_path: Path, postgres_url: str
) -> None:
    report = restart_all(tmp_path, postgres_url, restarts=REPLICAS, rate=40)
    assert report.failed == []
    assert {sample.status for sample in report.samples} == {200, 303}
    assert report.exit_statuses == {0}
    assert max(report.stop_seconds) < 30
