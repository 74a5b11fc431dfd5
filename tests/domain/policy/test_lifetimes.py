"""Until when? The earlier limit, and the moment of expiry itself is too late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from server.domain.policy.lifetimes import expires_at, is_expired

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(("idle", "absolute", "ends"), [(60, 3600, 60), (3600, 60, 60), (60, 60, 60), (60, -1, -1)])
def test_end_is_the_earlier_of_idle_and_absolute(idle: int, absolute: int, ends: int) -> None:
    assert expires_at(NOON, idle, NOON + timedelta(seconds=absolute)) == NOON + timedelta(seconds=ends)


@pytest.mark.parametrize(
    ("offset", "is_over"),
    [(-1, False), (-0.000001, False), (0, True), (0.000001, True), (86400, True)],
)
def test_it_is_over_from_the_moment_of_expiry(offset: float, is_over: bool) -> None:
    assert is_expired(NOON + timedelta(seconds=offset), NOON) is is_over
