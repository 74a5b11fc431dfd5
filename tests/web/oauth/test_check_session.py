"""The frame that clients' pages ask about the session, and the cookie that its script reads."""

import re

import pytest
from werkzeug.test import TestResponse

from server.domain.browsers import find_browser
from server.protocol.session_management import browser_state
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, flow_of


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",))


def state_of(flow: Flow) -> str | None:
    cookie = flow.browser.get_cookie("gatepost-state")
    return cookie.value if cookie is not None else None


def set_cookie_of(response: TestResponse, name: str) -> set[str]:
    """The attributes of a cookie that the answer sets."""
    found = [header for header in response.headers.getlist("Set-Cookie") if header.startswith(f"{name}=")]
    return {each for header in found for each in header.split("; ")[1:] if not each.startswith("Expires")}


@pytest.mark.spec("Session Management 1.0 §3.2")
def test_page_may_stand_in_anybodys_frame_and_holds_nothing_but_the_script(gatepost: Gatepost) -> None:
    page = gatepost.browser().get("/oauth/check-session")
    assert page.status_code == 200
    assert "X-Frame-Options" not in page.headers
    policy = page.headers["Content-Security-Policy"]
    assert "frame-ancestors *" in policy
    assert "script-src 'self'" in policy
    assert page.headers["Cache-Control"] == "public, max-age=3600"
    assert "Set-Cookie" not in page.headers
    assert 'data-cookie="gatepost-state"' in page.text
    (source,) = re.findall(r'<script src="([^"]+)"', page.text)
    assert gatepost.browser().get(source, buffered=True).status_code == 200


def test_page_names_the_cookie_of_the_host_when_the_issuer_is_https(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(issuer="https://login.example/tenant")
    page = gatepost.browser().get("/tenant/oauth/check-session", base_url="https://login.example")
    assert 'data-cookie="__Host-gatepost-state"' in page.text
    assert 'src="/tenant/static/check_session.js"' in page.text


def test_cookie_tells_the_browsers_state_from_the_first_sign_in_on(flow: Flow) -> None:
    flow.browser.get("/login")
    assert state_of(flow) is None
    flow.code()
    secret = flow.browser.get_cookie("gatepost")
    assert secret is not None
    with flow.gatepost.work() as work:
        browser = find_browser(work, secret.value)
        assert browser is not None
        assert state_of(flow) == browser_state(browser)


@pytest.mark.spec("Session Management 1.0 §3")
def test_cookie_changes_with_every_sign_in_sign_out_and_change_of_account_and_with_nothing_else(flow: Flow) -> None:
    flow.gatepost.add_user("bob@example.com", name="Bob Builder")
    flow.code()
    states = [state_of(flow)]
    flow.code(prompt="none")
    flow.browser.get("/")
    assert state_of(flow) == states[0]
    flow.code(prompt="login")
    states.append(state_of(flow))
    Flow(flow.gatepost, flow.client, flow.secret, flow.browser, "bob@example.com").code(prompt="select_account")
    states.append(state_of(flow))
    flow.submit(flow.browser.get("/logout"), "/logout", decision="sign_out")
    states.append(state_of(flow))
    assert len(set(states)) == 4
    assert None not in states


@pytest.mark.spec("S-08")
def test_cookie_can_be_read_in_frames_of_other_sites_when_the_issuer_is_https(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(issuer="https://login.example")
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
    base = "https://login.example"
    page = flow.browser.get("/login", base_url=base)
    form = re.findall(r'name="(csrf_token)" value="([^"]+)"', page.text)
    answer = flow.browser.post(
        "/login",
        data={**dict(form), "username": flow.email, "password": flow.password, "decision": "sign_in"},
        base_url=base,
    )
    assert answer.status_code == 303, answer.text
    assert set_cookie_of(answer, "__Host-gatepost-state") == {"Max-Age=1209600", "Secure", "Path=/", "SameSite=None"}


def test_cookie_is_of_our_own_site_when_the_issuer_is_http_on_localhost(flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    answer = flow.submit(page, "/login", username=flow.email, password=flow.password, decision="sign_in")
    assert set_cookie_of(answer, "gatepost-state") == {"Max-Age=1209600", "Path=/", "SameSite=Lax"}


def test_cookie_opens_nothing(flow: Flow) -> None:
    flow.code()
    state = state_of(flow)
    assert state is not None
    stranger = flow.gatepost.browser()
    for name in ("gatepost-state", "gatepost"):
        stranger.set_cookie(name, state)
    assert "You are signed in" not in stranger.get("/").text
