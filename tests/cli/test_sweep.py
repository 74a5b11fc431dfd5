"""`gatepost sweep`: housekeeping by hand, until nothing is due."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from server.cli import sweep as command
from server.domain import housekeeping
from server.domain.access_tokens import revoke_access_token
from server.infra.clock import SystemClock

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


@pytest.fixture
def littered(cli: Cli) -> Cli:
    with cli.gatepost() as gatepost, gatepost.work() as work:
        for number in range(5):
            over = SystemClock().now() - timedelta(seconds=1)
            revoke_access_token(work, f"jti{number}", "a-client", over)
    return cli


def test_nothing_is_told_to_be_removed_when_nothing_was(cli: Cli) -> None:
    assert cli.ok("sweep") == "There was nothing to remove.\n"
    assert cli.json("sweep") == {}


def test_what_was_removed_is_told(littered: Cli) -> None:
    assert littered.ok("sweep").split() == ["revoked_access_tokens", "5"]
    assert littered.json("sweep") == {}


def test_sweep_goes_on_until_no_batch_is_full(littered: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "BATCH", 2)
    monkeypatch.setattr(command, "sweep_once", lambda work: housekeeping.sweep(work, batch=2))
    assert littered.json("sweep") == {"revoked_access_tokens": 5}
