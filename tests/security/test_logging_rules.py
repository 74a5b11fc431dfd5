"""Logging, errors and what an answer may hold: the rules L, each seen from outside."""

import io
import json
import logging
from typing import Any

import pytest
from sqlalchemy import event

from server.infra.logging import configure_logging
from tests.support.application import PASSWORD, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, basic, flow_of, form_fields, jwt_claims

SITE = "https://app.example/cb"


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=(SITE,))


@pytest.mark.spec("L-02", "INV-47")
def test_every_decision_has_its_row_with_who_what_from_where_and_why(flow: Flow) -> None:
    flow.browser.environ_base.update(REMOTE_ADDR="192.0.2.7", HTTP_USER_AGENT="Browser/1")
    page = flow.browser.get("/login")
    flow.submit(page, "/login", username=flow.email, password="wrong")
    tokens = flow.tokens()
    flow.refresh(tokens["refresh_token"])
    code = flow.code()
    flow.redeem(code)
    flow.redeem(code)
    flow.gatepost.browser().post(
        "/oauth/token", data={"grant_type": "refresh_token"}, headers=basic(flow.client.id, "x")
    )
    flow.submit(flow.open_page("/consent", flow.authorize(prompt="consent")), "/consent", decision="deny")
    flow.submit(flow.browser.get("/logout"), "/logout", decision="sign_out")
    rows = flow.gatepost.audit_rows()
    events = {row.event for row in rows}
    assert {
        *("login.failed", "login.succeeded", "consent.given", "consent.denied", "authorization_code.reused"),
        *("grant.revoked", "session.ended", "client.created", "user.created"),
    } <= events
    person = jwt_claims(tokens["id_token"])["sub"]
    signed_in = next(row for row in rows if row.event == "login.succeeded")
    assert (signed_in.actor_kind, signed_in.actor_id, signed_in.user_id) == ("user", person, person)
    assert (signed_in.ip, signed_in.user_agent) == ("192.0.2.7", "Browser/1")
    assert str(signed_in.request_id).startswith("req_")


@pytest.mark.spec("L-02", "L-04", "INV-42")
def test_decision_is_undone_when_its_row_cannot_be_written(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost()
    flow = flow_of(gatepost, redirect_uris=(SITE,))
    page = flow.open_page("/consent", flow.authorize())

    def refuse(_c: object, _cu: object, statement: str, *_: object) -> None:
        if statement.lstrip().upper().startswith("INSERT INTO AUDIT"):
            raise RuntimeError("the audit log cannot be written")

    event.listen(gatepost.engine, "before_cursor_execute", refuse)
    gatepost.app.testing = False
    answer = flow.submit(page, "/consent", decision="allow")
    event.remove(gatepost.engine, "before_cursor_execute", refuse)
    assert answer.status_code >= 500
    assert "consent.given" not in gatepost.audit_events()
    assert "RuntimeError" not in answer.text


CONTROLS = ("a\r\nlogin.succeeded forged", "\x1b[31mred\x1b[0m", '","event":"forged', "\u2028forged", "\x00")


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("agent", CONTROLS)
@pytest.mark.spec("L-03")
def test_line_stays_one_line_of_ours_when_input_tries_to_forge_another(
    make_gatepost: GatepostMaker, agent: str, log_format: Any
) -> None:
    gatepost = make_gatepost(log_format=log_format)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging(gatepost.settings)
        written = io.StringIO()
        for handler in root.handlers:
            handler.setStream(written)  # type: ignore[attr-defined]
        for name in ("client_id", "state", "redirect_uri", "prompt", "scope"):
            gatepost.browser().get("/oauth/authorize", query_string={name: agent})
        logging.getLogger("server.web.errors").info("refused: %s", agent)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    lines = written.getvalue().split("\n")
    assert any("refused" in line for line in lines)
    for line in filter(None, lines):
        assert "\x1b" not in line
        assert "\r" not in line
        assert not line.startswith("login.succeeded")
        if log_format == "json":
            assert json.loads(line).get("event") != "forged"


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.spec("L-04", "INV-42")
def test_fault_is_told_in_general_words_and_never_as_a_success(make_gatepost: GatepostMaker, accept: str) -> None:
    gatepost = make_gatepost()
    gatepost.app.testing = False
    flow = flow_of(gatepost, redirect_uris=(SITE,))
    tokens = flow.tokens()
    secret = "a detail nobody may see"
    asks = {
        "token": lambda: flow.refresh(tokens["refresh_token"]),
        "authorize": lambda: flow.browser.get(
            "/oauth/authorize", query_string=flow.parameters(), headers={"Accept": accept}
        ),
        "login": lambda: flow.browser.get("/login", headers={"Accept": accept}),
        "introspect": lambda: flow.browser.post(
            "/oauth/introspect", data={"token": "x"}, headers=basic(flow.client.id, flow.secret or "")
        ),
    }
    for name, ask in asks.items():
        sent: list[str] = []
        event.listen(gatepost.engine, "before_cursor_execute", lambda *a, s=sent: s.append(a[2]), named=False)
        ask()
        for number in range(min(len(sent), 12)):
            left = [number]

            def fail(*_: object, left: list[int] = left) -> None:
                left[0] -= 1
                if left[0] < 0:
                    raise RuntimeError(secret)

            event.listen(gatepost.engine, "before_cursor_execute", fail)
            answer = ask()
            event.remove(gatepost.engine, "before_cursor_execute", fail)
            if left[0] >= 0:
                # A retry needs fewer statements than the first time: none was left to fail.
                break
            assert answer.status_code >= 500, (name, number, answer.status_code)
            assert secret not in answer.text
            assert "Traceback" not in answer.text
            assert "RuntimeError" not in answer.text


ALLOWED = {
    "token": {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"},
    "userinfo": {"sub", "name", "email", "email_verified", "updated_at"},
    "introspection": {
        *("active", "token_type", "username", "iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti"),
        *("auth_time", "acr", "amr"),
    },
    "jwk": {"kty", "kid", "use", "alg", "n", "e", "crv", "x", "y"},
    "error": {"error", "error_description"},
}


@pytest.mark.spec("L-05", "INV-30")
def test_answer_holds_the_members_of_its_list_and_no_others(flow: Flow) -> None:
    tokens = flow.tokens()
    browser, headers = flow.gatepost.browser(), basic(flow.client.id, flow.secret or "")
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    found = {
        "token": set(tokens),
        "userinfo": set(browser.get("/oauth/userinfo", headers=bearer).get_json()),
        "introspection": set(
            browser.post("/oauth/introspect", data={"token": tokens["access_token"]}, headers=headers).get_json()
        ),
        "jwk": {name for key in browser.get("/.well-known/jwks.json").get_json()["keys"] for name in key},
        "error": set(browser.post("/oauth/token", data={"grant_type": "x"}).get_json()),
    }
    for name, members in found.items():
        assert members <= ALLOWED[name], name


@pytest.mark.spec("L-05", "INV-30")
def test_fields_that_no_form_has_change_nothing_when_they_are_sent(flow: Flow) -> None:
    page = flow.browser.get("/login")
    extra = {"is_admin": "1", "user_id": "usr_x", "email_verified": "1", "is_first_party": "1", "role": "admin"}
    flow.browser.post("/login", data={**form_fields(page.text), "username": flow.email, "password": PASSWORD, **extra})
    consent = flow.open_page("/consent", flow.authorize())
    assert "code=" in flow.walk(flow.submit(consent, "/consent", decision="allow", **extra)).headers["Location"]
    assert "code=" not in flow.authorize(prompt="consent").headers["Location"]
