"""A parked request: one browser, one answer, half an hour; and what becomes of it when things change meanwhile."""

from urllib.parse import urlsplit

import pytest
from werkzeug.test import TestResponse

from server.domain.clients import delete_client, get_client
from tests.support.application import Gatepost
from tests.support.flow import Flow, answer_of, flow_of, form_fields

PAGES = ("/login", "/consent", "/select-account", "/oauth/authorize/resume")


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost)


def parked(flow: Flow, **changes: str | None) -> str:
    """A request that waits for its sign-in; its id."""
    return flow.authorize(**changes).headers["Location"].partition("request=")[2]


def page_url(path: str, request_id: str) -> str:
    return f"{path}/{request_id}" if path.endswith("resume") else f"{path}?request={request_id}"


def assert_error_page(response: TestResponse, status: int, words: str) -> None:
    assert response.status_code == status
    assert "Location" not in response.headers
    assert 'id="error-page"' in response.text
    assert words in response.text


# One browser ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_request_is_refused_when_another_browser_opens_it(flow: Flow, path: str) -> None:
    request_id = parked(flow)
    stranger = flow_of(flow.gatepost, client_id="other")
    stranger.code()
    response = stranger.browser.get(page_url(path, request_id))
    assert_error_page(response, 403, "started in another browser")
    assert "Set-Cookie" not in response.headers
    # Its own browser goes on as if nothing had been.
    assert "code" in answer_of(flow.walk(flow.browser.get(page_url(PAGES[3], request_id))).headers["Location"])


@pytest.mark.parametrize("path", PAGES[:3])
@pytest.mark.spec("AZ-25", "INV-25")
def test_answer_is_refused_when_another_browser_posts_it(flow: Flow, path: str) -> None:
    request_id = parked(flow)
    stranger = flow_of(flow.gatepost, client_id="other")
    page = stranger.open_page("/login", stranger.authorize())
    form = {**form_fields(page.text), "request": request_id, "username": flow.email, "password": flow.password}
    response = stranger.browser.post(path, data={**form, "decision": "allow"})
    assert_error_page(response, 403, "started in another browser")
    assert "login.succeeded" not in flow.gatepost.audit_events()


@pytest.mark.parametrize("request_id", ["x", "0" * 22, "0" * 23, "\0", "é", "../../x"])
@pytest.mark.parametrize("path", PAGES[:3])
def test_request_is_not_found_when_the_id_is_none_of_ours(flow: Flow, path: str, request_id: str) -> None:
    flow.authorize()
    response = flow.browser.get(path, query_string={"request": request_id})
    assert_error_page(response, 404, "is not known")


@pytest.mark.parametrize("path", ["/consent", "/select-account"])
def test_page_is_not_found_when_it_belongs_to_no_request(flow: Flow, path: str) -> None:
    flow.browser.get("/login")
    assert_error_page(flow.browser.get(path), 404, "is not known")
    assert_error_page(flow.browser.post(path), 404, "is not known")


@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_request_is_carried_on_with_the_session_when_a_foreign_page_posted_it(flow: Flow) -> None:
    """A cross-site POST comes without our SameSite=Lax cookie; the session must be found again, not lost."""
    flow.code()
    response = flow.gatepost.browser().post(
        "/oauth/authorize", data=flow.parameters(), headers={"Origin": "https://app.example"}
    )
    assert response.status_code == 303
    assert "Set-Cookie" not in response.headers, "a new cookie would replace the person's own"
    resumed = flow.browser.get(response.headers["Location"])
    assert "code" in answer_of(resumed.headers["Location"])


def test_person_comes_to_the_sign_in_when_a_foreign_page_posted_and_nobody_is_signed_in(flow: Flow) -> None:
    response = flow.browser.post("/oauth/authorize", data=flow.parameters())
    assert urlsplit(response.headers["Location"]).path.startswith("/oauth/authorize/resume/")
    assert "code" in answer_of(flow.walk(response).headers["Location"])


def test_posted_request_belongs_to_the_first_browser_when_two_open_it(flow: Flow) -> None:
    location = flow.gatepost.browser().post("/oauth/authorize", data=flow.parameters()).headers["Location"]
    assert flow.browser.get(location).status_code == 303
    assert_error_page(flow.gatepost.browser().get(location), 403, "started in another browser")


@pytest.mark.spec("S-12")
def test_parallel_requests_do_not_mix_when_two_tabs_are_open(flow: Flow) -> None:
    other = flow_of(flow.gatepost, client_id="other", redirect_uris=("https://other.example/cb",))
    other.browser = flow.browser
    first = flow.open_page("/login", flow.authorize(state="first"))
    second = other.open_page("/login", other.authorize(state="second"))
    answered = other.walk(other.submit(second, "/login", username=flow.email, password=flow.password))
    assert answered.headers["Location"].startswith("https://other.example/cb?code=")
    assert answer_of(answered.headers["Location"])["state"] == "second"
    request_id = form_fields(first.text)["request"]
    back = flow.walk(flow.browser.get(f"/oauth/authorize/resume/{request_id}"))
    assert answer_of(back.headers["Location"])["state"] == "first"
    assert back.headers["Location"].startswith("http://localhost:9000/callback?code=")


# One answer -------------------------------------------------------------------------------------------------------


@pytest.mark.spec("AZ-25")
def test_one_code_is_issued_when_consent_is_submitted_twice(flow: Flow) -> None:
    page = flow.open_page("/consent", flow.authorize())
    first = flow.submit(page, "/consent", decision="allow")
    second = flow.submit(page, "/consent", decision="allow")
    answers = [flow.walk(first), flow.walk(second)]
    assert sorted(answer.status_code for answer in answers) == [303, 410]
    assert flow.gatepost.audit_events().count("authorization_code.issued") == 1
    assert flow.gatepost.audit_events().count("consent.given") == 1


@pytest.mark.parametrize("path", PAGES)
def test_request_is_gone_when_it_was_answered(flow: Flow, path: str) -> None:
    request_id = parked(flow)
    flow.walk(flow.browser.get(page_url(PAGES[3], request_id)))
    assert_error_page(flow.browser.get(page_url(path, request_id)), 410, "answered already")


def test_request_is_gone_when_it_was_denied(flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    flow.submit(page, "/login", decision="cancel")
    assert_error_page(flow.submit(page, "/login", decision="cancel"), 410, "answered already")
    again = flow.submit(page, "/login", decision="sign_in", username=flow.email, password=flow.password)
    assert_error_page(again, 410, "answered already")
    assert flow.gatepost.audit_events().count("consent.denied") == 1
    assert "login.succeeded" not in flow.gatepost.audit_events()


def test_nobody_is_signed_in_when_the_person_cancels_with_the_right_password(flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    response = flow.submit(page, "/login", decision="cancel", username=flow.email, password=flow.password)
    assert answer_of(response.headers["Location"])["error"] == "access_denied"
    assert "login.succeeded" not in flow.gatepost.audit_events()


# Half an hour -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_request_is_gone_when_its_time_is_over(flow: Flow, path: str) -> None:
    request_id = parked(flow)
    flow.gatepost.clock.advance(1799)
    assert flow.browser.get(page_url(path, request_id)).status_code in (200, 303)
    flow.gatepost.clock.advance(1)
    assert_error_page(flow.browser.get(page_url(path, request_id)), 410, "has expired")


def test_password_is_not_looked_at_when_the_request_has_expired(flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    flow.gatepost.clock.advance(1800)
    response = flow.submit(page, "/login", username=flow.email, password=flow.password)
    assert_error_page(response, 410, "has expired")
    assert "login.succeeded" not in flow.gatepost.audit_events()


def test_page_leads_back_to_the_app_when_the_request_is_over(gatepost: Gatepost) -> None:
    """No dead end: the person can start again where they came from."""
    flow = flow_of(gatepost, client_uri="https://app.example/", client_name="Note Taker")
    request_id = parked(flow)
    gatepost.clock.advance(1800)
    response = flow.browser.get(f"/login?request={request_id}")
    assert_error_page(response, 410, "has expired")
    assert 'href="https://app.example/"' in response.text
    stranger = gatepost.browser()
    stranger.get("/login")
    assert "Note Taker" not in stranger.get(f"/login?request={request_id}").text


# The client changes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/consent", "/oauth/authorize/resume"])
def test_error_page_is_shown_when_the_client_was_disabled_meanwhile(flow: Flow, path: str) -> None:
    flow.code()
    page = flow.open_page("/consent", flow.authorize(prompt="consent"))
    flow.gatepost.change_client(flow.client.id, disabled_at=flow.gatepost.clock.now())
    request_id = form_fields(page.text)["request"]
    response = flow.browser.get(page_url(path, request_id))
    assert_error_page(response, 400, "There is no such client.")
    assert_error_page(flow.submit(page, "/consent", decision="allow"), 400, "There is no such client.")


def test_error_page_is_shown_when_the_person_cancels_and_the_client_was_disabled_meanwhile(flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    flow.gatepost.change_client(flow.client.id, disabled_at=flow.gatepost.clock.now())
    assert_error_page(flow.submit(page, "/login", decision="cancel"), 400, "There is no such client.")


def test_request_is_gone_when_the_client_was_deleted_meanwhile(flow: Flow) -> None:
    request_id = parked(flow)
    with flow.gatepost.work() as work:
        delete_client(work, get_client(work, flow.client.id))
    assert_error_page(flow.browser.get(page_url("/login", request_id)), 404, "is not known")


def test_person_signs_in_again_when_they_were_disabled_meanwhile(flow: Flow) -> None:
    page = flow.open_page("/consent", flow.authorize())
    flow.gatepost.change_user(flow.email, disabled_at=flow.gatepost.clock.now())
    response = flow.submit(page, "/consent", decision="allow")
    assert response.status_code == 303
    assert flow.browser.get(response.headers["Location"]).headers["Location"].startswith("/login?")
    assert "consent.given" not in flow.gatepost.audit_events()
