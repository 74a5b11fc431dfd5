"""The account chooser: who is known on this browser, and nobody else."""

import pytest

from server.domain.users import delete_user, get_user
from tests.support.application import Gatepost
from tests.support.flow import Flow, answer_of, flow_of, form_fields, jwt_claims, session_id_of


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    gatepost.add_user("bob@example.com", name="Bob")
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",))


def bobs(flow: Flow) -> Flow:
    """Bob on the same browser."""
    return Flow(flow.gatepost, flow.client, flow.secret, flow.browser, email="bob@example.com")


def session_of(flow: Flow, **changes: str | None) -> str:
    return session_id_of(flow.gatepost, jwt_claims(flow.tokens(**changes)["id_token"]))


def test_page_lists_who_is_known_here_newest_first_when_opened(flow: Flow) -> None:
    flow.code()
    flow.gatepost.clock.advance(1)
    bobs(flow).code(prompt="select_account")
    page = flow.open_page("/select-account", flow.authorize(prompt="select_account"))
    assert page.text.index("bob@example.com") < page.text.index("ada@example.com")
    stranger = Flow(flow.gatepost, flow.client, flow.secret, flow.gatepost.browser())
    empty = stranger.open_page("/select-account", stranger.authorize(prompt="select_account"))
    assert "@example.com" not in empty.text
    assert "Use another account" in empty.text


def test_person_is_gone_from_the_page_and_signed_out_when_removed(flow: Flow) -> None:
    ada = session_of(flow)
    bob = bobs(flow)
    bob.code(prompt="select_account")
    page = flow.open_page("/select-account", flow.authorize(prompt="select_account"))
    removed = flow.submit(page, "/select-account", remove=ada)
    assert removed.headers["Location"] == f"/select-account?request={form_fields(page.text)['request']}"
    again = flow.browser.get(removed.headers["Location"])
    assert "ada@example.com" not in again.text
    assert "bob@example.com" in again.text
    assert flow.gatepost.audit_events().count("session.ended") == 1
    # The chosen one can no longer answer.
    response = flow.submit(again, "/select-account", choose=ada)
    assert flow.browser.get(response.headers["Location"]).headers["Location"].startswith("/login?")


def test_nobody_is_left_when_the_last_one_is_removed(flow: Flow) -> None:
    ada = session_of(flow)
    page = flow.open_page("/select-account", flow.authorize(prompt="select_account"))
    again = flow.browser.get(flow.submit(page, "/select-account", remove=ada).headers["Location"])
    assert "@example.com" not in again.text
    assert "Welcome" in flow.browser.get("/").text


@pytest.mark.parametrize("field", ["choose", "remove"])
def test_session_of_another_browser_is_out_of_reach_when_its_id_is_posted(flow: Flow, field: str) -> None:
    elsewhere = Flow(flow.gatepost, flow.client, flow.secret, flow.gatepost.browser(), email="bob@example.com")
    foreign = session_of(elsewhere)
    page = flow.open_page("/select-account", flow.authorize(prompt="select_account"))
    response = flow.submit(page, "/select-account", **{field: foreign})
    assert flow.browser.get(response.headers["Location"]).headers["Location"].startswith("/login?")
    assert "session.ended" not in flow.gatepost.audit_events()
    assert "code" in answer_of(elsewhere.authorize(prompt="none").headers["Location"])


@pytest.mark.parametrize("choice", [{}, {"choose": ""}, {"choose": "x"}, {"choose": "\0"}, {"another": "1"}])
def test_person_signs_in_when_nobody_known_was_chosen(flow: Flow, choice: dict[str, str]) -> None:
    flow.code()
    page = flow.open_page("/select-account", flow.authorize(prompt="select_account"))
    response = flow.submit(page, "/select-account", **choice)
    login = flow.open_page("/login", response)
    assert 'value=""' in login.text


def test_choice_is_who_answers_from_now_on_when_made(flow: Flow) -> None:
    ada = session_of(flow)
    bob = session_of(bobs(flow), prompt="select_account")
    assert session_of(flow) == bob
    page = flow.open_page("/select-account", flow.authorize(prompt="select_account"))
    flow.walk(flow.submit(page, "/select-account", choose=ada))
    assert session_of(flow) == ada
    assert "Ada Example" in flow.browser.get("/").text


def test_disabled_person_is_shown_signed_out_and_deleted_one_not_at_all_when_known(flow: Flow) -> None:
    flow.code()
    bobs(flow).code(prompt="select_account")
    flow.gatepost.change_user("bob@example.com", disabled_at=flow.gatepost.clock.now())
    page = flow.open_page("/select-account", flow.authorize(prompt="select_account"))
    assert page.text.count("Signed out") == 1
    with flow.gatepost.work() as work:
        delete_user(work, get_user(work, "bob@example.com"))
    assert (
        "bob@example.com" not in flow.browser.get(f"/select-account?request={form_fields(page.text)['request']}").text
    )


def test_consent_is_asked_of_the_one_chosen_when_another_had_given_it(flow: Flow) -> None:
    """What was allowed before the choice was another person's."""
    ada = session_of(flow)
    bobs(flow).code(prompt="select_account", scope="openid")
    page = flow.open_page("/consent", flow.authorize(scope="openid email"))
    assert "Bob" in page.text
    request_id = form_fields(page.text)["request"]
    flow.submit(page, "/consent", decision="allow")
    chooser = flow.browser.get(f"/select-account?request={request_id}")
    chosen = flow.submit(chooser, "/select-account", choose=ada)
    leaving = flow.walk(chosen)
    claims = jwt_claims(flow.redeem(answer_of(leaving.headers["Location"])["code"]).get_json()["id_token"])
    assert session_id_of(flow.gatepost, claims) == ada
    assert claims["email"] == "ada@example.com"


def test_person_deleted_in_that_very_moment_is_left_out_when_listed(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.code()
    monkeypatch.setattr("server.web.interaction.select_account.find_user", lambda *_: None)
    page = flow.open_page("/select-account", flow.authorize(prompt="select_account"))
    assert "ada@example.com" not in page.text
