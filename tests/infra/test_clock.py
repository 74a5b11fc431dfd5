"""The clock: the machine's, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from server.infra.clock import SystemClock


def test_system_clock_tells_the_present_in_utc() -> None:
    told = SystemClock().now()
    assert told.utcoffset() == timedelta(0)
    assert abs(told - datetime.now(UTC)) < timedelta(seconds=10)
