"""Thirty days of use as bars."""

from datetime import date

from server.domain.credential_usage import CredentialUsage
from server.web.dashboard.usage_chart import DAYS, HEIGHT, usage_chart

TODAY = date(2026, 3, 1)


def row(day: str, uses: int, failures: int = 0) -> CredentialUsage:
    return CredentialUsage(kind="api_key", credential_id="key_1", day=day, uses=uses, failures=failures)


def test_every_day_has_a_bar_when_there_was_no_use() -> None:
    chart = usage_chart([], TODAY)
    assert len(chart.bars) == DAYS
    assert (chart.highest, chart.uses, chart.failures) == (0, 0, 0)
    assert {bar.uses_height + bar.failures_height for bar in chart.bars} == {0.0}
    assert (chart.bars[0].day, chart.bars[-1].day) == (date(2026, 1, 31), TODAY)


def test_tallest_day_fills_the_height_and_the_others_keep_proportion() -> None:
    chart = usage_chart([row("2026-03-01", 30, 10), row("2026-02-28", 20)], TODAY)
    today, yesterday = chart.bars[-1], chart.bars[-2]
    assert (chart.highest, chart.uses, chart.failures) == (40, 50, 10)
    assert today.uses_height + today.failures_height == HEIGHT
    assert yesterday.uses_height == HEIGHT / 2
    assert (today.failures_top, today.uses_top) == (0, HEIGHT - today.uses_height)


def test_days_before_the_first_bar_are_left_out() -> None:
    assert usage_chart([row("2026-01-30", 5)], TODAY).uses == 0
