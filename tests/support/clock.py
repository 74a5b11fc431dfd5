"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FrozenClock:
    """Tells the same moment until `advance`."""

    def __init__(self, start: datetime | None = None) -> None:
        self._start = self._now = start or datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        """The moment the clock stands at."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Moves the clock; backwards with a negative number."""
        self._now += timedelta(seconds=seconds)

    def reset(self) -> None:
        """Moves the clock back to its start."""
        self._now = self._start
