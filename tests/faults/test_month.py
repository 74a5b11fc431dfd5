"""A month of traffic: housekeeping keeps the database as large as a few days', and every rule holds without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from server.domain.tables import METADATA
from server.web.background import Sweeper
from tests.support.application import Gatepost
from tests.support.flow import Flow, basic, flow_of

pytestmark = [pytest.mark.slow, pytest.mark.spec("R-34"), pytest.mark.timeout(300)]

DAY = 86400
DAYS = 30
#: Rows that people and operators make and only they remove, and the log, which is kept.
KEPT = frozenset({"users", "clients", "consents", "audit_events", "audit_seals", "signing_keys", "registry_version"})
#: Lifetimes a tenth as long as usual, so that a month is ten of each.
LIFETIMES = {
    "refresh_token_idle_lifetime": 3 * DAY,
    "refresh_token_lifetime": 18 * DAY,
    "session_idle_lifetime": DAY // 10,
    "session_lifetime": DAY,
}


@pytest.fixture
def gatepost(tmp_path: Path) -> Iterator[Gatepost]:
    deployment = Gatepost(tmp_path, **LIFETIMES)
    deployment.add_user()
    yield deployment
    deployment.close()


def rows(gatepost: Gatepost) -> dict[str, int]:
    with gatepost.work() as work:
        counts = {
            name: work.db.scalar(select(func.count()).select_from(table)) for name, table in METADATA.tables.items()
        }
    return {name: count or 0 for name, count in counts.items() if name not in KEPT}


def live_a_day(flow: Flow) -> dict[str, str]:
    """Sign-ins, abandoned requests, wrong passwords, refreshes and revocations; the last tokens."""
    tokens: dict[str, str] = {}
    for _ in range(3):
        flow.browser = flow.gatepost.browser()
        flow.authorize()
        tokens = flow.tokens()
        tokens = flow.refresh(tokens["refresh_token"]).get_json()
        headers = basic(flow.client.id, str(flow.secret))
        flow.browser.post("/oauth/revoke", data={"token": tokens["access_token"]}, headers=headers)
        flow.gatepost.clock.advance(DAY / 3)
    return tokens


def test_no_table_grows_when_housekeeping_runs(gatepost: Gatepost) -> None:
    flow, sweeper = flow_of(gatepost), Sweeper(gatepost.runtime)
    history = []
    for _ in range(DAYS):
        live_a_day(flow)
        sweeper.sweep_all()
        history.append(rows(gatepost))
    middle, end = history[DAYS * 2 // 3], history[-1]
    assert {name: count for name, count in end.items() if count > middle[name] * 1.2 + 3} == {}
    assert sum(end.values()) > 0


def test_everything_that_is_over_stays_refused_when_housekeeping_is_off(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost)
    code, tokens = flow.code(), flow.tokens()
    for _ in range(DAYS):
        gatepost.clock.advance(DAY)
    assert flow.redeem(code).get_json()["error"] == "invalid_grant"
    assert flow.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert flow.browser.get("/oauth/userinfo", headers=headers).status_code == 401
    introspected = flow.browser.post(
        "/oauth/introspect", data={"token": tokens["access_token"]}, headers=basic(flow.client.id, str(flow.secret))
    )
    assert introspected.get_json() == {"active": False}
    assert "/login" in flow.authorize().headers["Location"]


def test_all_that_a_month_left_behind_goes_when_housekeeping_comes_back(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost)
    for _ in range(DAYS // 3):
        live_a_day(flow)
    gatepost.clock.advance(60 * DAY)
    assert rows(gatepost)["refresh_tokens"] > DAYS
    Sweeper(gatepost.runtime).sweep_all()
    left = rows(gatepost)
    assert {name: count for name, count in left.items() if count} == {"client_secrets": 1}
