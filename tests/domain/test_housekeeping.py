"""Housekeeping: what is over goes, what may still matter stays, and the database stays bounded."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from server.domain.audit_records import AuditRecord
from server.domain.housekeeping import RULES, sweep
from server.domain.tables import METADATA
from tests.support.application import Gatepost
from tests.support.flow import Flow, flow_of

DAY = 86400


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/callback",))


def rows(gatepost: Gatepost) -> dict[str, int]:
    """How many rows each table has."""
    with gatepost.work() as work:
        return {
            name: work.db.scalar(select(func.count()).select_from(table)) or 0
            for name, table in METADATA.tables.items()
        }


def sweep_all(gatepost: Gatepost) -> dict[str, int]:
    with gatepost.work() as work:
        return sweep(work)


def test_nothing_goes_while_it_may_still_be_used(flow: Flow) -> None:
    tokens = flow.tokens()
    flow.refresh(tokens["refresh_token"])
    flow.authorize()
    before = rows(flow.gatepost)
    assert sweep_all(flow.gatepost) == {}
    assert rows(flow.gatepost) == before


def test_reuse_is_still_recognised_after_sweeping(flow: Flow) -> None:
    tokens = flow.tokens()
    successor = flow.refresh(tokens["refresh_token"]).get_json()["refresh_token"]
    flow.gatepost.clock.advance(2 * DAY)
    sweep_all(flow.gatepost)
    assert flow.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"
    assert flow.refresh(successor).get_json()["error"] == "invalid_grant"
    assert "refresh_token.reused" in flow.gatepost.audit_events()


def test_refreshing_goes_on_when_everything_around_it_was_swept(flow: Flow) -> None:
    token = flow.tokens()["refresh_token"]
    for _ in range(10):
        flow.gatepost.clock.advance(7 * DAY)
        sweep_all(flow.gatepost)
        answer = flow.refresh(token)
        assert answer.status_code == 200, answer.text
        token = answer.get_json()["refresh_token"]


def test_everything_goes_when_nobody_came_back(flow: Flow) -> None:
    flow.tokens()
    flow.authorize()
    flow.gatepost.clock.advance(400 * DAY)
    for _ in range(3):
        sweep_all(flow.gatepost)
    left = rows(flow.gatepost)
    swept = set(RULES) - {"client_secrets", "clients"}
    assert {name: left[name] for name in swept} == dict.fromkeys(swept, 0)
    # People, clients, keys and the record of what happened are nobody's rubbish.
    assert min(left[name] for name in ("users", "clients", "client_secrets", "signing_keys", "consents")) > 0


def test_database_stays_bounded_over_weeks_of_sign_ins(flow: Flow) -> None:
    sizes = []
    for _ in range(42):
        flow.browser = flow.gatepost.browser()
        flow.refresh(flow.tokens(scope="openid")["access_token"])
        flow.gatepost.browser().get("/login")
        flow.gatepost.clock.advance(DAY)
        sweep_all(flow.gatepost)
        left = rows(flow.gatepost)
        sizes.append(
            sum(left[name] for name in ("authorization_requests", "authorization_codes", "grants", "browsers"))
        )
    # Sessions last two weeks and are remembered for two more; from then on as many rows go as come.
    assert max(sizes[32:]) <= max(sizes[:32])


def test_batch_is_the_most_that_goes_at_once(flow: Flow) -> None:
    for _ in range(5):
        flow.gatepost.browser().get("/oauth/authorize", query_string=flow.parameters())
    flow.gatepost.clock.advance(DAY)
    with flow.gatepost.work() as work:
        assert sweep(work, batch=2)["authorization_requests"] == 2
    with flow.gatepost.work() as work:
        assert sweep(work)["authorization_requests"] == 3


def test_audit_log_is_left_alone(flow: Flow) -> None:
    flow.tokens()
    before = rows(flow.gatepost)[AuditRecord.__tablename__]
    flow.gatepost.clock.advance(400 * DAY)
    sweep_all(flow.gatepost)
    assert rows(flow.gatepost)[AuditRecord.__tablename__] == before
