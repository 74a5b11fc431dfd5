"""Signing out: asked first, then done for everybody signed in on this browser."""

import pytest
from werkzeug.test import TestResponse

from server.domain import browsers, sessions
from server.domain.errors import Denied
from tests.support.application import Gatepost
from tests.support.flow import Flow, answer_of, flow_of, form_fields
from tests.support.words import words_of


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    gatepost.add_user("bob@example.com", name="Bob Builder")
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
    flow.code()
    return flow


def sign_out(flow: Flow, decision: str = "sign_out"):  # type: ignore[no-untyped-def]
    return flow.submit(flow.browser.get("/logout"), "/logout", decision=decision)


def is_signed_in(flow: Flow) -> bool:
    return "code" in answer_of(flow.authorize(prompt="none").headers["Location"])


def test_person_is_asked_by_name_when_signed_in(flow: Flow) -> None:
    page = flow.browser.get("/logout")
    assert page.status_code == 200
    assert 'id="logout-confirm"' in page.text
    assert "Ada Example" in page.text
    Flow(flow.gatepost, flow.client, flow.secret, flow.browser, "bob@example.com").code(prompt="select_account")
    page = flow.browser.get("/logout")
    assert "Ada Example" in page.text
    assert "Bob Builder" in page.text


def test_nobody_is_asked_when_nobody_is_signed_in(gatepost: Gatepost) -> None:
    browser = gatepost.browser()
    for _ in range(2):
        response = browser.get("/logout")
        assert (response.status_code, response.headers["Location"]) == (303, "/signed-out")
        browser.get("/login")
    assert 'id="logged-out"' in browser.get("/signed-out").text
    assert "Signed out" in browser.get("/signed-out").text


def test_everybody_is_signed_out_when_confirmed(flow: Flow) -> None:
    bob = Flow(flow.gatepost, flow.client, flow.secret, flow.browser, "bob@example.com")
    bob.code(prompt="select_account")
    before = flow.browser.get_cookie("gatepost")
    response = sign_out(flow)
    assert (response.status_code, response.headers["Location"]) == (303, "/signed-out")
    assert response.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert not is_signed_in(flow)
    rows = flow.gatepost.audit_rows("session.ended")
    assert len({row.user_id for row in rows}) == 2
    assert all((row.actor_kind, row.actor_id) == ("user", row.user_id) for row in rows)
    after = flow.browser.get_cookie("gatepost")
    assert before is not None
    assert after is not None
    assert after.value != before.value
    copied = flow.gatepost.browser()
    copied.set_cookie("gatepost", before.value)
    assert "Ada" not in words_of(copied.get("/").text)


@pytest.mark.parametrize("decision", ["stay", "", "SIGN_OUT"])
def test_nothing_happens_when_the_answer_is_anything_else(flow: Flow, decision: str) -> None:
    response = sign_out(flow, decision)
    assert (response.status_code, response.headers["Location"]) == (303, "/")
    assert is_signed_in(flow)
    assert "session.ended" not in flow.gatepost.audit_events()


def test_person_stays_signed_in_elsewhere_when_they_sign_out_here(flow: Flow) -> None:
    elsewhere = Flow(flow.gatepost, flow.client, flow.secret, flow.gatepost.browser())
    elsewhere.code()
    sign_out(flow)
    assert is_signed_in(elsewhere)


def test_access_ends_with_the_session_unless_it_was_granted_for_longer(flow: Flow) -> None:
    online = flow.tokens(scope="openid")["access_token"]
    offline = flow.tokens(scope="openid offline_access")["access_token"]
    flow.tokens(prompt="login")
    sign_out(flow)
    statuses = [
        flow.browser.get("/oauth/userinfo", headers={"Authorization": f"Bearer {token}"}).status_code
        for token in (online, offline)
    ]
    assert statuses == [401, 200]
    assert {row.details["reason"] for row in flow.gatepost.audit_rows("grant.revoked")} == {"signed_out"}


def test_code_on_its_way_is_worthless_when_the_person_signed_out(flow: Flow) -> None:
    code = flow.code(scope="openid")
    sign_out(flow)
    assert flow.redeem(code).get_json()["error"] == "invalid_grant"


def test_answer_is_the_same_when_the_button_is_clicked_twice(flow: Flow) -> None:
    form = {**form_fields(flow.browser.get("/logout").text), "decision": "sign_out"}
    cookie = flow.browser.get_cookie("gatepost")
    assert cookie is not None
    first = flow.browser.post("/logout", data=form)
    late = flow.gatepost.browser()
    late.set_cookie("gatepost", cookie.value)
    second = late.post("/logout", data=form)
    assert first.headers["Location"] == second.headers["Location"] == "/signed-out"
    assert flow.gatepost.audit_events().count("session.ended") == 1


def test_late_answer_signs_nobody_out_and_does_not_say_so_when_somebody_signed_in_meanwhile(flow: Flow) -> None:
    form = {**form_fields(flow.browser.get("/logout").text), "decision": "sign_out"}
    cookie = flow.browser.get_cookie("gatepost")
    assert cookie is not None
    flow.code(prompt="login")
    late = flow.gatepost.browser()
    late.set_cookie("gatepost", cookie.value)
    assert late.post("/logout", data=form).status_code == 403
    assert is_signed_in(flow)


def test_only_who_is_signed_in_is_named_when_others_are_known_here(flow: Flow) -> None:
    Flow(flow.gatepost, flow.client, flow.secret, flow.browser, "bob@example.com").code(prompt="select_account")
    flow.gatepost.change_user("bob@example.com", disabled_at=flow.gatepost.clock.now())
    page = flow.browser.get("/logout")
    assert "Ada Example" in page.text
    assert "Bob Builder" not in page.text
    flow.gatepost.clock.advance(flow.gatepost.settings.session_idle_lifetime)
    assert flow.browser.get("/logout").headers["Location"] == "/signed-out"


@pytest.mark.spec("INV-18")
def test_all_answers_are_the_same_when_the_same_request_is_served_several_times_at_once(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one has read everything before the first one is committed, and waits for the browser's row."""
    flow.gatepost.change_client(flow.client.id, frontchannel_logout_uri="https://app.example/front")
    flow.gatepost.clock.advance(60)
    form = {**form_fields(flow.browser.get("/logout").text), "decision": "sign_out"}
    cookie = flow.browser.get_cookie("gatepost")
    assert cookie is not None

    def refuse(*_: object) -> None:
        monkeypatch.undo()
        late = flow.gatepost.browser()
        late.set_cookie("gatepost", cookie.value)
        answers.append(late.post("/logout", data=form))
        raise Denied(browsers.SESSION_CHANGED)

    answers: list[TestResponse] = []
    monkeypatch.setattr(sessions, "replace_secret", refuse)
    answers.append(flow.browser.post("/logout", data=form))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert all("https://app.example/front" in answer.text for answer in answers)
    assert flow.gatepost.audit_events().count("session.ended") == 1
