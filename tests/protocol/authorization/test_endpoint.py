"""The state machine where two visits meet: signed out, disabled or answered in the very moment of going on."""

import logging

import pytest
from authlib.oauth2 import OAuth2Error

from server.domain import browsers, sessions
from server.domain.unit_of_work import UnitOfWork
from server.protocol.authorization import endpoint
from server.protocol.authorization.response_modes import Redirect, encode_error
from tests.support.application import Gatepost
from tests.support.flow import Flow, answer_of, flow_of


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",))


@pytest.mark.parametrize("prompt", [None, "none"])
def test_no_code_is_issued_when_the_person_signs_out_in_that_very_moment(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, prompt: str | None
) -> None:
    flow.code()

    def end_first(work: UnitOfWork, session: sessions.Session) -> bool:
        browser = work.db.get(browsers.Browser, session.browser_id)
        assert browser is not None
        sessions.end_session(work, browser, session)
        return False

    monkeypatch.setattr(endpoint.sessions, "lock_live_session", end_first)
    response = flow.authorize(prompt=prompt)
    if prompt == "none":
        assert answer_of(response.headers["Location"])["error"] == "login_required"
    else:
        assert response.headers["Location"].startswith("/login?request=")
    assert flow.gatepost.audit_events().count("authorization_code.issued") == 1


def test_error_has_no_description_when_there_is_none(gatepost: Gatepost) -> None:
    parameters = {"redirect_uri": "https://app.example/cb", "response_mode": "query", "state": None}
    client, _ = gatepost.add_client()
    with gatepost.work() as work:
        answer = encode_error(work, client, parameters, OAuth2Error(error="server_error"))
    assert isinstance(answer, Redirect)
    assert answer_of(answer.location) == {"error": "server_error", "iss": gatepost.settings.issuer}


def test_answer_is_kept_by_no_cache_and_sent_to_no_third_party_when_it_holds_a_code(flow: Flow) -> None:
    for mode in ("query", "form_post"):
        response = flow.walk(flow.authorize(response_mode=mode))
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Referrer-Policy"] == "no-referrer"


def test_page_links_to_the_apps_own_site_when_its_request_cannot_be_answered(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, client_uri="https://app.example/", client_name="Note Taker")
    page = flow.authorize(redirect_uri="https://evil.example/")
    assert page.status_code == 400
    assert 'href="https://app.example/"' in page.text
    assert "Note Taker" in page.text
    assert "evil.example" not in page.text


def test_refusal_is_logged_by_its_code_alone_when_the_client_is_told(
    flow: Flow, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "server"):
        flow.authorize(scope="zq9hostile", state="zq9hostile")
    assert caplog.messages == ["authorization request refused: invalid_scope"]


@pytest.mark.spec("INV-19", "RFC 7592 §2.2")
@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_nothing_is_redirected_when_the_client_gave_its_redirect_uri_up_meanwhile(flow: Flow, decision: str) -> None:
    page = flow.open_page("/consent", flow.authorize())
    flow.gatepost.change_client(flow.client.id, redirect_uris=["https://app.example/other"])
    answer = flow.submit(page, "/consent", decision=decision)
    assert answer.status_code == 400
    assert "Location" not in answer.headers
    assert "redirect_uri is no longer registered" in answer.text
