"""Thirty days of use as bars, and as the same numbers for those who do not see them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from server.domain.credential_usage import CredentialUsage

DAYS: Final = 30
HEIGHT: Final = 96
_STEP: Final = 20
_BAR: Final = 12
_GAP: Final = (_STEP - _BAR) // 2


@dataclass(frozen=True)
class Bar:
    """One day."""

    day: date
    uses: int
    failures: int
    x: int
    uses_height: float
    failures_height: float

    @property
    def uses_top(self) -> float:
        """Where the uses end."""
        return round(HEIGHT - self.uses_height, 1)

    @property
    def failures_top(self) -> float:
        """Where the refusals, which stand on the uses, end."""
        return round(HEIGHT - self.uses_height - self.failures_height, 1)


@dataclass(frozen=True)
class Chart:
    """All days, with what the tallest stands for."""

    bars: list[Bar]
    highest: int
    uses: int
    failures: int
    width: int = DAYS * _STEP
    height: int = HEIGHT
    bar_width: int = _BAR


def usage_chart(rows: Iterable[CredentialUsage], today: date) -> Chart:
    """The chart of the days until today; days without a row are days without use."""
    by_day = {row.day: row for row in rows}
    days = [today - timedelta(days=DAYS - 1 - number) for number in range(DAYS)]
    counts = [_counts(by_day.get(day.isoformat())) for day in days]
    highest = max(uses + failures for uses, failures in counts)
    scale = HEIGHT / highest if highest else 0.0
    bars = [
        Bar(
            day,
            uses,
            failures,
            number * _STEP + (_STEP - _BAR) // 2,
            round(uses * scale, 1),
            round(failures * scale, 1),
        )
        for number, (day, (uses, failures)) in enumerate(zip(days, counts, strict=True))
    ]
    return Chart(bars, highest, sum(bar.uses for bar in bars), sum(bar.failures for bar in bars))


def _counts(row: CredentialUsage | None) -> tuple[int, int]:
    return (row.uses, row.failures) if row is not None else (0, 0)
