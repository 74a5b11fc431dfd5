"""Guessing client secrets: limited at every endpoint that asks for one, and no stranger stops a client."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse

from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, basic, flow_of

ENDPOINTS = {
    "/oauth/token": {"grant_type": "client_credentials"},
    "/oauth/introspect": {"token": "whatever"},
    "/oauth/revoke": {"token": "whatever"},
}


@pytest.fixture
def flow(make_gatepost: GatepostMaker) -> Flow:
    return flow_of(make_gatepost(scopes={"notes:read": "Read your notes"}), "machine", scope="notes:read")


def ask(flow: Flow, path: str, secret: str | None = None, ip: str = "192.0.2.1", **form: str) -> TestResponse:
    headers = basic(flow.client.id, secret or flow.secret or "")
    browser = flow.gatepost.browser()
    return browser.post(path, data={**ENDPOINTS[path], **form}, headers=headers, environ_base={"REMOTE_ADDR": ip})


@pytest.mark.spec("B-07")
@pytest.mark.parametrize("path", ENDPOINTS)
def test_client_waits_when_it_failed_thirty_times_from_one_network(flow: Flow, path: str) -> None:
    assert [ask(flow, path, f"cs_guess{number}").status_code for number in range(31)] == [401] * 31
    for refused in (ask(flow, path, "cs_guess"), ask(flow, path)):
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "600")
    assert ask(flow, path, ip="198.51.100.1").status_code == 200
    flow.gatepost.clock.advance(600)
    assert ask(flow, path).status_code == 200


@pytest.mark.spec("B-07")
def test_budget_is_one_for_all_endpoints_and_both_methods(flow: Flow) -> None:
    for number in range(10):
        for path in ENDPOINTS:
            assert ask(flow, path, f"cs_guess{number}").status_code == 401
    in_the_body = {**ENDPOINTS["/oauth/token"], "client_id": flow.client.id, "client_secret": "cs_guess"}
    browser = flow.gatepost.browser()
    peer = {"REMOTE_ADDR": "192.0.2.1"}
    assert browser.post("/oauth/token", data=in_the_body, environ_base=peer).status_code == 401
    assert browser.post("/oauth/token", data=in_the_body, environ_base=peer).status_code == 429


@pytest.mark.spec("B-07")
def test_refusals_leave_no_audit_rows_so_that_nobody_fills_the_log(flow: Flow) -> None:
    for number in range(40):
        ask(flow, "/oauth/token", f"cs_guess{number}")
    rows = flow.gatepost.audit_rows("client.authentication.failed")
    assert len(rows) == 32
    assert [row.details for row in rows if "refused_seconds" in row.details] == [
        {"reason": "too many failures", "refused_seconds": 600}
    ]
