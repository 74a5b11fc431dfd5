"""Forgery across sites: every form of ours, each way to send it without having been shown it."""

from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, flow_of, form_fields

OUT_OF_DATE = "This page was out of date."
NO_COOKIE = "Your browser sent no cookie. Allow cookies for this site"


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",))


def _login(flow: Flow) -> tuple[str, dict[str, str]]:
    page = flow.browser.get("/login")
    return "/login", {**form_fields(page.text), "username": flow.email, "password": flow.password}


def _login_with_request(flow: Flow) -> tuple[str, dict[str, str]]:
    page = flow.open_page("/login", flow.authorize())
    return "/login", {**form_fields(page.text), "username": flow.email, "password": flow.password}


def _consent(flow: Flow) -> tuple[str, dict[str, str]]:
    return "/consent", {**form_fields(flow.open_page("/consent", flow.authorize()).text), "decision": "allow"}


def _chooser(flow: Flow) -> tuple[str, dict[str, str]]:
    page = flow.open_page("/select-account", flow.authorize(prompt="select_account"))
    return "/select-account", {**form_fields(page.text), "another": "1"}


def _logout(flow: Flow) -> tuple[str, dict[str, str]]:
    flow.code()
    return "/logout", {**form_fields(flow.browser.get("/logout").text), "decision": "sign_out"}


FORMS: dict[str, Callable[[Flow], tuple[str, dict[str, str]]]] = {
    "login": _login,
    "login for a request": _login_with_request,
    "consent": _consent,
    "chooser": _chooser,
    "logout": _logout,
}
EVENTS = {"login.succeeded", "consent.given", "session.ended", "consent.denied"}


def changes(flow: Flow) -> list[str]:
    return [event for event in flow.gatepost.audit_events() if event in EVENTS]


def assert_refused(response: TestResponse, words: str) -> None:
    assert response.status_code == 403
    assert words in response.text
    assert 'id="error-page"' in response.text
    assert "Set-Cookie" not in response.headers


def is_turned_away(response: TestResponse) -> bool:
    """A sign-in form that is out of date goes on with its request instead of showing an error; nothing is done."""
    return response.status_code == 303 and response.headers["Location"].startswith("/oauth/authorize/resume/")


@pytest.mark.parametrize("name", FORMS)
def test_form_works_when_it_is_sent_as_it_was_shown(flow: Flow, name: str) -> None:
    path, form = FORMS[name](flow)
    headers = {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}
    assert flow.browser.post(path, data=form, headers=headers).status_code == 303


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("token", [None, "", "x", "é", "0" * 64])
@pytest.mark.spec("C-01", "AZ-32")
def test_form_does_nothing_when_its_token_is_missing_or_wrong(flow: Flow, name: str, token: str | None) -> None:
    path, form = FORMS[name](flow)
    before = changes(flow)
    form.pop("csrf_token")
    if token is not None:
        form["csrf_token"] = token
    response = flow.browser.post(path, data=form)
    if name != "login for a request":
        assert_refused(response, OUT_OF_DATE)
    else:
        assert is_turned_away(response)
    assert changes(flow) == before


@pytest.mark.parametrize("name", FORMS)
def test_form_does_nothing_when_its_token_is_of_another_purpose(flow: Flow, name: str) -> None:
    path, form = FORMS[name](flow)
    other = _login(flow)[1] if name != "login" else _login_with_request(flow)[1]
    before = changes(flow)
    response = flow.browser.post(path, data={**form, "csrf_token": other["csrf_token"]})
    assert response.status_code == 403 or is_turned_away(response)
    assert changes(flow) == before


@pytest.mark.parametrize("name", FORMS)
def test_form_does_nothing_when_its_token_is_of_another_browser(flow: Flow, name: str) -> None:
    path, form = FORMS[name](flow)
    stranger = Flow(flow.gatepost, flow.client, flow.secret, flow.gatepost.browser())
    foreign = FORMS[name](stranger)[1]["csrf_token"]
    before = changes(flow)
    response = flow.browser.post(path, data={**form, "csrf_token": foreign})
    assert response.status_code == 403 or is_turned_away(response)
    assert changes(flow) == before


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:8001"},
        {"Origin": "https://localhost:8000"},
        {"Origin": "http://localhost:8000.evil.example"},
        {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
@pytest.mark.spec("C-03")
def test_form_does_nothing_when_the_browser_says_it_came_from_elsewhere(
    flow: Flow, name: str, headers: dict[str, str]
) -> None:
    path, form = FORMS[name](flow)
    before = changes(flow)
    assert_refused(flow.browser.post(path, data=form, headers=headers), OUT_OF_DATE)
    assert changes(flow) == before


@pytest.mark.parametrize("name", FORMS)
def test_form_is_refused_with_a_sentence_about_cookies_when_the_browser_sends_none(flow: Flow, name: str) -> None:
    path, form = FORMS[name](flow)
    before = changes(flow)
    assert_refused(flow.gatepost.browser().post(path, data=form), NO_COOKIE)
    assert changes(flow) == before


@pytest.mark.parametrize("path", ["/login", "/consent", "/select-account"])
def test_page_of_a_request_tells_about_cookies_when_the_browser_sends_none(flow: Flow, path: str) -> None:
    location = flow.authorize().headers["Location"]
    request_id = location.partition("request=")[2]
    assert_refused(flow.gatepost.browser().get(f"{path}?request={request_id}"), NO_COOKIE)


def test_form_works_when_the_browser_hides_its_origin(flow: Flow) -> None:
    """Under `Referrer-Policy: no-referrer` browsers send `Origin: null` with same-origin forms."""
    path, form = _login(flow)
    headers = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    assert flow.browser.post(path, data=form, headers=headers).status_code == 303


def test_origin_is_compared_with_the_issuers_when_it_has_a_path(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(issuer="https://login.example/auth")
    browser = gatepost.browser()
    page = browser.get("/auth/login", base_url="https://login.example")
    form = {**form_fields(page.text), "username": "ada@example.com", "password": "wrong"}
    for origin, status in (("https://login.example", 400), ("https://evil.example", 403)):
        response = browser.post("/auth/login", data=form, base_url="https://login.example", headers={"Origin": origin})
        assert response.status_code == status


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.spec("C-01")
def test_nothing_happens_when_a_form_is_sent_with_get(flow: Flow, name: str) -> None:
    path, form = FORMS[name](flow)
    before = changes(flow)
    assert flow.browser.get(path, query_string=form).status_code in (200, 303)
    assert changes(flow) == before


@pytest.mark.parametrize("name", FORMS)
def test_nothing_happens_when_the_method_is_overridden_by_a_header_or_field(flow: Flow, name: str) -> None:
    path, form = FORMS[name](flow)
    before = changes(flow)
    headers = {"X-HTTP-Method-Override": "POST"}
    assert flow.browser.get(path, query_string={**form, "_method": "POST"}, headers=headers).status_code in (200, 303)
    assert changes(flow) == before


def test_token_dies_when_the_person_signs_in_meanwhile(flow: Flow) -> None:
    path, form = _chooser(flow)
    flow.code(prompt="login")
    assert_refused(flow.browser.post(path, data=form), OUT_OF_DATE)
