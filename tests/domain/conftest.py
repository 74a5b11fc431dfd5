"""Fixtures of the domain's tests: a deployment of their own with Ada in it, and one transaction there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.domain.unit_of_work import UnitOfWork
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock
from tests.support.deployment import gatepost, make_gatepost, prepared_folder

__all__ = ["clock", "gatepost", "make_gatepost", "prepared_folder", "work"]


@pytest.fixture
def work(gatepost: Gatepost) -> Iterator[UnitOfWork]:
    """One transaction, open while the test runs."""
    with gatepost.work() as work:
        yield work


@pytest.fixture
def clock(gatepost: Gatepost) -> FrozenClock:
    """The clock of the deployment; what `work` tells as `now`."""
    return gatepost.clock
