"""The disk is full: what must be written is refused politely, what is read is answered, and nothing is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.disk_full import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.mark.spec("R-22")
@pytest.mark.parametrize("may_mount", [True, False], ids=["small disk", "file size limit"])
def test_reads_go_on_and_writes_are_refused_when_the_disk_is_full(tmp_path: Path, may_mount: bool) -> None:
    report = run(tmp_path / "disk", cycles=1, may_mount=may_mount)
    assert report.broken_promises == [], str(report)
