"""The one encoder: every answer, success and error, in both modes, with `state` byte-equal and `iss`."""

import re
from html import unescape
from urllib.parse import parse_qsl, urlsplit

import pytest
from werkzeug.test import TestResponse

from tests.support.application import ISSUER, REDIRECT_URI, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, answer_of, flow_of

STATES = {
    "one character": "x",
    "2000 characters": "s" * 2000,
    "spaces": "  a  b ",
    "plus and percent": "a+b%20c%2Bd%",
    "NUL": "a\0b",
    "quotes": "\"'`<script>alert(1)</script>",
    "unicode": "grüße \N{PILE OF POO} \u202e\u0000\u2028",
    "parameters": "&code=stolen&state=other#fragment",
    "line breaks": "a\r\nSet-Cookie: x=y",
    "backslash": "\\\\//",
    "not normalised": "e\u0301 \u00e9",
}


def posted_fields(response: TestResponse) -> list[tuple[str, str]]:
    """What the form of a form_post page would send."""
    tags = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', response.text)
    return [(unescape(name), unescape(value)) for name, value in tags]


def answer_fields(response: TestResponse, mode: str) -> list[tuple[str, str]]:
    if mode == "form_post":
        assert response.status_code == 200
        return posted_fields(response)
    assert response.status_code == 303
    return parse_qsl(urlsplit(response.headers["Location"]).query, keep_blank_values=True)


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost)


@pytest.mark.parametrize("mode", ["query", "form_post"])
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.spec("RFC 6749 §4.1.2", "RFC 9207 §2")
def test_state_comes_back_character_by_character_when_a_code_is_sent(flow: Flow, state: str, mode: str) -> None:
    fields = answer_fields(flow.walk(flow.authorize(state=state, response_mode=mode)), mode)
    assert [name for name, _ in fields] == ["code", "session_state", "state", "iss"]
    assert dict(fields)["state"] == state
    assert dict(fields)["iss"] == ISSUER


@pytest.mark.parametrize("mode", ["query", "form_post"])
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.spec("RFC 6749 §4.1.2.1", "RFC 9207 §2")
def test_state_comes_back_character_by_character_when_an_error_is_sent(flow: Flow, state: str, mode: str) -> None:
    fields = answer_fields(flow.authorize(state=state, response_mode=mode, prompt="none"), mode)
    assert [name for name, _ in fields] == ["error", "error_description", "state", "iss"]
    assert dict(fields)["state"] == state
    assert dict(fields)["iss"] == ISSUER


@pytest.mark.parametrize("mode", ["query", "form_post"])
def test_state_is_absent_when_none_was_sent(flow: Flow, mode: str) -> None:
    success = flow.walk(flow.authorize(state=None, response_mode=mode))
    error = flow.authorize(state=None, response_mode=mode, prompt="none login")
    assert [name for name, _ in answer_fields(success, mode)] == ["code", "session_state", "iss"]
    assert [name for name, _ in answer_fields(error, mode)] == ["error", "error_description", "iss"]


@pytest.mark.parametrize("stage", ["login", "consent"])
@pytest.mark.parametrize("mode", ["query", "form_post"])
@pytest.mark.spec("RFC 6749 §4.1.2.1", "RFC 9207 §2")
def test_denial_carries_state_and_issuer_when_the_person_says_no(flow: Flow, stage: str, mode: str) -> None:
    page = flow.browser.get(flow.authorize(response_mode=mode).headers["Location"])
    if stage == "login":
        response = flow.submit(page, "/login", decision="cancel")
    else:
        resumed = flow.submit(page, "/login", username=flow.email, password=flow.password, decision="sign_in")
        consent_url = flow.browser.get(resumed.headers["Location"]).headers["Location"]
        response = flow.submit(flow.browser.get(consent_url), "/consent", decision="deny")
    fields = dict(answer_fields(response, mode))
    assert fields == {
        "error": "access_denied",
        "error_description": "The person denied the request.",
        "state": "a state",
        "iss": ISSUER,
    }
    assert flow.gatepost.audit_events()[-1] == "consent.denied"


def test_target_is_the_redirect_uri_when_the_answer_is_posted(flow: Flow) -> None:
    page = flow.walk(flow.authorize(response_mode="form_post"))
    assert f'<form method="post" action="{REDIRECT_URI}"' in page.text
    assert "Location" not in page.headers
    assert page.headers["Cache-Control"] == "no-store"
    # The page must work without scripts and may run only ours.
    assert "<button" in page.text
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "onload" not in page.text
    assert re.findall(r"<script[^>]*>", page.text) == ['<script src="/static/form_post.js" defer>']
    assert flow.redeem(dict(posted_fields(page))["code"]).status_code == 200


def test_html_is_escaped_when_the_state_holds_markup(flow: Flow) -> None:
    page = flow.walk(flow.authorize(response_mode="form_post", state='"><script>alert(1)</script>'))
    assert "<script>alert" not in page.text


def test_issuer_is_the_configured_one_when_it_has_a_path(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(issuer="http://localhost:8000/auth/tenant")
    flow = flow_of(gatepost)
    response = gatepost.browser().get(
        "/auth/tenant/oauth/authorize", query_string=flow.parameters(prompt="none"), headers={"Host": "127.0.0.1:9999"}
    )
    assert answer_of(response.headers["Location"])["iss"] == "http://localhost:8000/auth/tenant"


@pytest.mark.parametrize("mode", ["query", "form_post"])
def test_redirect_is_never_one_that_repeats_the_post_when_the_person_answers(flow: Flow, mode: str) -> None:
    """RFC 9700 §4.12: 303, so that no password travels on to the client."""
    statuses = set()
    response = flow.authorize(response_mode=mode)
    while response.headers.get("Location", "").startswith("/"):
        statuses.add(response.status_code)
        response = flow.visit(response.headers["Location"])
    assert statuses == {303}
