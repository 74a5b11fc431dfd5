"""The sign-in page: one sentence for every refusal, a limit on guessing, and a double click that signs in once."""

import json
from html import unescape

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.application import PASSWORD, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, answer_of, flow_of, form_fields
from tests.support.relying_party import relying_party
from tests.support.words import words_of

REFUSAL = "Email or password is incorrect."


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",), client_name="Note Taker")


def sign_in(
    browser: FlaskClient, email: str = "ada@example.com", password: str = PASSWORD, peer: str = "127.0.0.1"
) -> TestResponse:
    form = {**form_fields(browser.get("/login").text), "username": email, "password": password}
    return browser.post("/login", data=form, environ_overrides={"REMOTE_ADDR": peer})


def secret_of(browser: FlaskClient) -> str:
    cookie = browser.get_cookie("gatepost")
    assert cookie is not None
    return cookie.value


# What the page shows ----------------------------------------------------------------------------------------------


def test_page_names_the_client_and_offers_a_way_back_when_it_belongs_to_a_request(flow: Flow) -> None:
    flow.gatepost.change_client(
        flow.client.id, policy_uri="https://app.example/privacy", tos_uri="https://app.example/terms"
    )
    page = flow.open_page("/login", flow.authorize())
    for words in ("Note Taker", "https://app.example/privacy", "https://app.example/terms"):
        assert words in page.text
    for element in ("login-page", "username", "password", "login-submit", "login-cancel"):
        assert f'id="{element}"' in page.text
    assert "Sign in" in page.text


def test_page_has_no_cancel_when_it_belongs_to_no_request(gatepost: Gatepost) -> None:
    page = gatepost.browser().get("/login")
    assert 'id="login-cancel"' not in page.text
    assert "request" not in form_fields(page.text)


def test_person_comes_to_the_front_door_when_no_client_sent_them(gatepost: Gatepost) -> None:
    browser = gatepost.browser()
    response = sign_in(browser)
    assert (response.status_code, response.headers["Location"]) == (303, "/")
    assert "Ada Example" in browser.get("/").text
    row = gatepost.audit_rows("login.succeeded")[-1]
    assert (row.actor_kind, row.actor_id) == ("user", row.user_id)


def test_cancel_without_a_request_is_no_way_in_when_posted(gatepost: Gatepost) -> None:
    browser = gatepost.browser()
    form = {**form_fields(browser.get("/login").text), "decision": "cancel"}
    assert browser.post("/login", data=form).status_code == 400


@pytest.mark.parametrize("email", ["ADA@example.com", "  ada@Example.COM ", "ａｄａ@example.com"])
def test_person_is_known_when_the_address_is_written_otherwise(gatepost: Gatepost, email: str) -> None:
    assert sign_in(gatepost.browser(), email).status_code == 303


# Refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("email", "password", "is_known"),
    [
        ("ada@example.com", "wrong", True),
        ("ada@example.com", "", True),
        ("ada@example.com", PASSWORD + " ", True),
        ("ada@example.com", PASSWORD.upper(), True),
        ("ada@example.com", PASSWORD + "\0", True),
        ("ada@example.com", "x" * 2000, True),
        ("nobody@example.com", PASSWORD, False),
        ("", "", False),
        ("ada", PASSWORD, False),
        ("\0@example.com", "\0", False),
        ("' OR 1=1 --@example.com", "x", False),
        ("x" * 5000 + "@example.com", "x", False),
        ("<script>@example.com", "x", False),
    ],
)
def test_refusal_is_the_same_when_address_or_password_are_wrong(
    gatepost: Gatepost, email: str, password: str, is_known: bool
) -> None:
    browser = gatepost.browser()
    response = sign_in(browser, email, password)
    assert response.status_code == 400
    assert REFUSAL in response.text
    assert "<title>Error: " in response.text
    assert 'aria-invalid="true"' in response.text
    assert f'value="{email.strip()}"' in unescape(response.text) or "\0" in email or not email
    assert "<script>" not in response.text
    assert password not in response.text or len(password) < 5
    row = gatepost.audit_rows("login.failed")[-1]
    assert (row.user_id is not None) is is_known
    assert row.ip == "127.0.0.1"
    assert "You are signed in" not in browser.get("/").text


@pytest.mark.parametrize("change", ["disabled", "no password"])
def test_refusal_is_the_same_when_the_account_cannot_be_used(gatepost: Gatepost, change: str) -> None:
    if change == "disabled":
        gatepost.change_user("ada@example.com", disabled_at=gatepost.clock.now())
    else:
        gatepost.change_user("ada@example.com", password_hash=None)
    response = sign_in(gatepost.browser())
    assert response.status_code == 400
    assert REFUSAL in response.text
    assert gatepost.audit_rows("login.failed")[-1].user_id is not None


def test_sign_in_can_be_tried_again_when_the_password_was_wrong(flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    refused = flow.submit(page, "/login", username=flow.email, password="wrong")
    assert refused.status_code == 400
    again = flow.submit(refused, "/login", username=flow.email, password=flow.password)
    assert "code" in answer_of(flow.walk(again).headers["Location"])


# Guessing ---------------------------------------------------------------------------------------------------------


def test_eleventh_guess_is_not_looked_at_when_ten_were_wrong(gatepost: Gatepost) -> None:
    for _ in range(10):
        assert sign_in(gatepost.browser(), password="wrong").status_code == 400
    response = sign_in(gatepost.browser())
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) == 600
    assert "Try again in 10 minutes." in response.text
    assert 'id="login-page"' in response.text
    assert gatepost.audit_events().count("login.limited") == 1
    assert "login.succeeded" not in gatepost.audit_events()
    # From another network, and for another account, it goes on.
    assert sign_in(gatepost.browser(), peer="198.51.100.7").status_code == 303
    assert sign_in(gatepost.browser(), email="nobody@example.com").status_code == 400
    gatepost.clock.advance(600)
    assert sign_in(gatepost.browser()).status_code == 303


def test_limit_tells_nothing_about_the_account_when_there_is_none(gatepost: Gatepost) -> None:
    for _ in range(10):
        sign_in(gatepost.browser(), "nobody@example.com", "wrong")
    response = sign_in(gatepost.browser(), "nobody@example.com", "wrong")
    assert response.status_code == 429
    assert gatepost.audit_rows("login.limited")[-1].user_id is None


def test_person_is_not_locked_out_of_their_own_browser_when_somebody_else_guesses(gatepost: Gatepost) -> None:
    own = gatepost.browser()
    sign_in(own)
    for _ in range(11):
        sign_in(gatepost.browser(), password="wrong")
    assert sign_in(gatepost.browser()).status_code == 429
    assert sign_in(own).status_code == 303


@pytest.mark.parametrize(
    ("seconds", "words"), [(599, "1 second"), (598, "2 seconds"), (540, "1 minute"), (539, "2 minutes")]
)
def test_wait_is_told_in_words_rounded_up_when_guessing_was_stopped(
    gatepost: Gatepost, seconds: int, words: str
) -> None:
    for _ in range(10):
        sign_in(gatepost.browser(), password="wrong")
    gatepost.clock.advance(seconds)
    assert f"Try again in {words}." in sign_in(gatepost.browser()).text


# Twice, and in several tabs ---------------------------------------------------------------------------------------


def test_person_is_signed_in_when_they_click_twice(flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    form = {**form_fields(page.text), "username": flow.email, "password": flow.password}
    before = secret_of(flow.browser)
    first = flow.browser.post("/login", data=form)
    second_click = flow.gatepost.browser()
    second_click.set_cookie("gatepost", before)
    second = second_click.post("/login", data=form)
    assert [first.status_code, second.status_code] == [303, 303]
    assert first.headers["Location"] == second.headers["Location"]
    flow.browser = second_click
    assert "code" in answer_of(flow.walk(second).headers["Location"])
    assert flow.gatepost.audit_events().count("authorization_code.issued") == 1


@pytest.mark.parametrize("decision", ["cancel", "sign_in"])
def test_replaced_cookie_does_nothing_else_when_it_comes_late(flow: Flow, decision: str) -> None:
    page = flow.open_page("/login", flow.authorize())
    form = {**form_fields(page.text), "username": flow.email, "password": "wrong", "decision": decision}
    before = secret_of(flow.browser)
    flow.submit(page, "/login", username=flow.email, password=flow.password)
    late = flow.gatepost.browser()
    late.set_cookie("gatepost", before)
    assert late.post("/login", data=form).status_code == 403
    assert "consent.denied" not in flow.gatepost.audit_events()
    for path in ("/login", f"/consent?request={form['request']}", f"/oauth/authorize/resume/{form['request']}"):
        assert late.get(path).status_code == 403
    assert "Ada Example" in flow.browser.get("/").text


def test_replaced_cookie_shows_nobodys_name_when_guessing_was_stopped(flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    form = {**form_fields(page.text), "username": "mallory@example.com", "password": "wrong"}
    before = secret_of(flow.browser)
    for _ in range(10):
        sign_in(flow.gatepost.browser(), "mallory@example.com", "wrong")
    flow.submit(page, "/login", username=flow.email, password=flow.password)
    late = flow.gatepost.browser()
    late.set_cookie("gatepost", before)
    response = late.post("/login", data=form)
    assert response.status_code in (403, 429)
    assert "Ada" not in words_of(response.text)
    assert "ada@example.com" not in response.text


def test_old_page_goes_on_when_the_person_signed_in_in_another_tab(flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    flow.code(state="the other tab")
    response = flow.submit(page, "/login", username=flow.email, password=flow.password)
    assert response.headers["Location"].startswith("/oauth/authorize/resume/")
    assert "code" in answer_of(flow.walk(response).headers["Location"])
    assert flow.gatepost.audit_events().count("login.succeeded") == 1


# Who is expected --------------------------------------------------------------------------------------------------


def test_person_is_named_when_they_only_have_to_confirm_who_they_are(flow: Flow) -> None:
    flow.code()
    page = flow.open_page("/login", flow.authorize(prompt="login"))
    assert "Confirm it’s you" in page.text
    assert "Ada Example" in page.text
    assert 'value="ada@example.com"' in page.text


def test_nobody_is_named_when_another_account_was_asked_for(flow: Flow) -> None:
    flow.code()
    chooser = flow.open_page("/select-account", flow.authorize(prompt="select_account"))
    page = flow.open_page("/login", flow.submit(chooser, "/select-account", another="1"))
    assert "Ada" not in words_of(page.text)
    assert "ada@example.com" not in page.text


def test_address_is_filled_in_and_nobody_named_when_the_session_has_ended(flow: Flow) -> None:
    flow.code()
    flow.gatepost.clock.advance(flow.gatepost.settings.session_idle_lifetime)
    page = flow.open_page("/login", flow.authorize())
    assert 'value="ada@example.com"' in page.text
    assert "Confirm" not in page.text


@pytest.mark.parametrize("pairwise", [False, True])
@pytest.mark.parametrize("way", ["id_token_hint", "claims"])
@pytest.mark.spec("E-01", "OpenID Connect Core §5.5.1")
def test_address_is_shown_only_where_its_owner_has_signed_in_when_a_client_means_them(
    make_gatepost: GatepostMaker, way: str, pairwise: bool
) -> None:
    """A client knows a `sub`, which anybody may send; the page must not turn it into an address."""
    gatepost = make_gatepost(registration="open")
    client = relying_party(gatepost, scope="openid", subject_type="pairwise" if pairwise else "public")
    id_token = client.tokens(scope="openid")["id_token"]
    meant = {"id_token": {"sub": {"value": client.read(id_token).claims["sub"]}}}
    hint = {"id_token_hint": id_token} if way == "id_token_hint" else {"claims": json.dumps(meant)}
    for browser, is_known in ((gatepost.browser(), False), (client.browser, True)):
        wanted = client.parameters(scope="openid", prompt="login", **hint)
        parked = browser.get("/oauth/authorize", query_string=wanted)
        page = browser.get(parked.headers["Location"])
        assert page.status_code == 200
        assert (client.email in page.text) is is_known
