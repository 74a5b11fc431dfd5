"""Every security-relevant act leaves its row: who, to whom, with which client, from where, in which request (L-02)."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from server.domain.audit_events import AuditEvent
from server.domain.audit_records import AuditRecord
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, basic, flow_of, form_fields
from tests.support.source import server_files

pytestmark = pytest.mark.spec("L-02")


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",))


def new_rows(gatepost: Gatepost, act: Callable[[], TestResponse]) -> tuple[list[AuditRecord], TestResponse]:
    """The rows that `act` leaves, each of them with the traces of the request."""
    before = len(gatepost.audit_rows())
    response = act()
    rows = gatepost.audit_rows()[before:]
    for row in rows:
        assert row.ip == "127.0.0.1"
        assert row.user_agent
        assert row.user_agent.startswith("Werkzeug/")
        assert row.request_id == response.headers["X-Request-ID"]
        assert row.at == gatepost.clock.now()
    return rows, response


def told(rows: list[AuditRecord]) -> list[tuple[str, str, bool, bool]]:
    """Event, kind of actor, and whether the person and the client are named."""
    return [(row.event, row.actor_kind, row.user_id is not None, row.client_id is not None) for row in rows]


def test_sign_in_leaves_rows_when_it_fails_and_when_it_succeeds(gatepost: Gatepost, flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    rows, _ = new_rows(gatepost, lambda: flow.submit(page, "/login", username=flow.email, password="wrong"))
    assert told(rows) == [("login.failed", "anonymous", True, False)]
    rows, _ = new_rows(gatepost, lambda: flow.submit(page, "/login", username="no@example.com", password="wrong"))
    assert told(rows) == [("login.failed", "anonymous", False, False)]
    rows, _ = new_rows(gatepost, lambda: flow.submit(page, "/login", username=flow.email, password=flow.password))
    assert told(rows) == [("login.succeeded", "user", True, False)]
    assert rows[0].actor_id == rows[0].user_id


def test_consent_leaves_a_row_when_it_is_given_and_when_it_is_denied(gatepost: Gatepost, flow: Flow) -> None:
    page = flow.open_page("/consent", flow.authorize())
    rows, _ = new_rows(gatepost, lambda: flow.submit(page, "/consent", decision="deny"))
    assert told(rows) == [("consent.denied", "user", True, True)]
    page = flow.open_page("/consent", flow.authorize())
    rows, response = new_rows(gatepost, lambda: flow.submit(page, "/consent", decision="allow"))
    assert told(rows) == [("consent.given", "user", True, True)]
    rows, _ = new_rows(gatepost, lambda: flow.walk(response))
    assert told(rows) == [("authorization_code.issued", "user", True, True)]


def test_tokens_leave_a_row_when_issued_rotated_replayed_and_reused(gatepost: Gatepost, flow: Flow) -> None:
    code = flow.code()
    rows, response = new_rows(gatepost, lambda: flow.redeem(code))
    assert told(rows) == [("token.issued", "client", True, True)]
    spent = response.get_json()["refresh_token"]
    rows, _ = new_rows(gatepost, lambda: flow.refresh(spent))
    assert told(rows)[0] == ("refresh_token.rotated", "client", True, True)
    rows, _ = new_rows(gatepost, lambda: flow.refresh(spent))
    assert [row.event for row in rows] == ["refresh_token.replayed"]
    gatepost.clock.advance(gatepost.settings.refresh_replay_window + 1)
    rows, _ = new_rows(gatepost, lambda: flow.refresh(spent))
    assert sorted(row.event for row in rows) == ["grant.revoked", "refresh_token.reused"]
    assert all(row.user_id and row.client_id for row in rows)


def test_code_that_comes_back_leaves_rows(gatepost: Gatepost, flow: Flow) -> None:
    code = flow.code()
    flow.redeem(code)
    rows, _ = new_rows(gatepost, lambda: flow.redeem(code))
    assert sorted(row.event for row in rows) == ["authorization_code.reused", "grant.revoked"]
    assert all(row.user_id and row.client_id for row in rows)


def test_revocation_leaves_a_row(gatepost: Gatepost, flow: Flow) -> None:
    tokens = flow.tokens()
    headers = basic(flow.client.id, flow.secret or "")
    for name, event in (("access_token", "token.revoked"), ("refresh_token", "grant.revoked")):
        form = {"token": tokens[name]}
        rows, _ = new_rows(
            gatepost,
            lambda form=form: gatepost.browser().post("/oauth/revoke", data=form, headers=headers),  # type: ignore[misc]
        )
        assert [row.event for row in rows] == [event]
        assert (rows[0].actor_kind, rows[0].client_id) == ("client", flow.client.id)


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
def test_client_that_fails_to_authenticate_leaves_a_row(gatepost: Gatepost, flow: Flow, path: str) -> None:
    form = {"grant_type": "client_credentials", "token": "x"}
    headers = basic(flow.client.id, "wrong")
    rows, _ = new_rows(gatepost, lambda: gatepost.browser().post(path, data=form, headers=headers))
    assert told(rows) == [("client.authentication.failed", "anonymous", False, True)]
    assert rows[0].details == {"reason": "wrong client secret"}


def test_machine_that_gets_a_token_leaves_a_row(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(scopes={"notes:read": "Read your notes"})
    machine = flow_of(gatepost, "machine", scope="notes:read")
    rows, _ = new_rows(gatepost, lambda: machine.post_token(grant_type="client_credentials"))
    assert told(rows) == [("token.issued", "client", False, True)]


def test_signing_out_leaves_rows(gatepost: Gatepost, flow: Flow) -> None:
    flow.tokens()
    page, sign_out = flow.browser.get("/logout"), {"decision": "sign_out"}
    rows, _ = new_rows(gatepost, lambda: flow.browser.post("/logout", data={**form_fields(page.text), **sign_out}))
    assert told(rows) == [("session.ended", "user", True, False)]


def test_request_that_is_refused_before_anything_is_known_leaves_no_row(gatepost: Gatepost) -> None:
    """Whoever sends nonsense fills no table."""
    for path, form in (("/oauth/authorize?client_id=x", None), ("/oauth/token", {"grant_type": "x"}), ("/x", None)):
        rows, _ = new_rows(
            gatepost,
            lambda path=path, form=form: gatepost.browser().post(path, data=form),  # type: ignore[misc]
        )
        assert [row.event for row in rows if row.event != "client.authentication.failed"] == []


def test_every_event_that_has_a_name_is_recorded_somewhere() -> None:
    sources = "".join(path.read_text("utf-8") for path in server_files() if path.name != "audit_events.py")
    recorded = set(re.findall(r"AuditEvent\.([A-Z_]+)", sources))
    assert {event.name for event in AuditEvent} - recorded == set()
