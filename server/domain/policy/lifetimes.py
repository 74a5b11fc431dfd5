"""Until when? The earlier of the idle limit, which use extends, and the absolute one, which nothing does."""

from __future__ import annotations

from datetime import datetime, timedelta


def expires_at(now: datetime, idle_seconds: int, absolute: datetime) -> datetime:
    """When something used at `now` ends."""
    return min(now + timedelta(seconds=idle_seconds), absolute)


def is_expired(now: datetime, expiry: datetime) -> bool:
    """Whether it is over; the moment of expiry itself is."""
    return now >= expiry
