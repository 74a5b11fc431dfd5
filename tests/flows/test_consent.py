"""Consent: remembered, asked again when more is wanted, bound to person, session, request and browser."""

import re

import pytest

from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, answer_of, flow_of, form_fields, jwt_claims, session_id_of

CLIENT_URI = "https://app.example/callback"


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=(CLIENT_URI,))


def asks_consent(flow: Flow, **changes: str | None) -> bool:
    """Whether the person sees the consent page on the way of one more request."""
    response = flow.authorize(**changes)
    while response.headers["Location"].startswith("/"):
        if response.headers["Location"].startswith("/consent"):
            return True
        response = flow.visit(response.headers["Location"])
    assert "code" in answer_of(response.headers["Location"])
    return False


@pytest.mark.parametrize("client_type", ["web", "spa", "native"])
@pytest.mark.spec("OpenID Connect Core §3.1.2.4")
def test_person_is_asked_once_when_the_client_is_known_by_its_https_redirect(
    gatepost: Gatepost, client_type: str
) -> None:
    flow = flow_of(gatepost, client_type, redirect_uris=(CLIENT_URI,))  # type: ignore[arg-type]
    assert asks_consent(flow)
    flow.code()
    assert not asks_consent(flow)
    assert not asks_consent(flow, scope="openid")
    flow.browser = gatepost.browser()
    assert not asks_consent(flow), "the consent is the person's, not the browser's"
    assert gatepost.audit_events().count("consent.given") == 1


@pytest.mark.parametrize(
    ("redirect_uri", "presented"),
    [
        ("com.example.app:/callback", "com.example.app:/callback"),
        ("http://127.0.0.1/callback", "http://127.0.0.1:49152/callback"),
        ("http://localhost:9000/callback", "http://localhost:9000/callback"),
    ],
)
@pytest.mark.spec("RFC 8252 §8.6")
@pytest.mark.spec("AZ-23")
def test_person_is_asked_every_time_when_any_program_on_the_device_could_be_the_client(
    gatepost: Gatepost, redirect_uri: str, presented: str
) -> None:
    flow = flow_of(gatepost, "native", redirect_uris=(redirect_uri,))
    assert flow.code(redirect_uri=presented)
    assert flow.browser.get(flow.authorize(redirect_uri=presented).headers["Location"]).status_code == 200
    assert "/consent" in flow.authorize(redirect_uri=presented).headers["Location"]
    assert answer_of(flow.authorize(redirect_uri=presented, prompt="none").headers["Location"])["error"] == (
        "consent_required"
    )


def test_person_is_asked_once_when_a_confidential_client_redirects_to_loopback(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, redirect_uris=("http://localhost:9000/callback",))
    flow.code()
    assert not asks_consent(flow)


def test_person_is_not_asked_when_the_client_is_the_deployments_own(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, "spa", is_first_party=True)
    assert not asks_consent(flow)
    assert "consent.given" not in gatepost.audit_events()
    assert asks_consent(flow, prompt="consent")


def test_new_scopes_are_marked_and_the_old_ones_told_apart_when_more_is_asked(flow: Flow) -> None:
    flow.code(scope="openid profile")
    flow.gatepost.clock.advance(3 * 86400)
    page = flow.open_page("/consent", flow.authorize(scope="openid profile email phone"))
    new, _, already = page.text.partition("Already allowed")
    assert new.count(">New<") == 2
    assert "See your email address" in new
    assert "See your phone number" in new
    assert "See your name and profile" not in new
    assert "See your name and profile" in already
    assert ">New<" not in already
    assert 'since <time datetime="2026-11-22T12:00:00+00:00"' in already
    flow.submit(page, "/consent", decision="allow")
    assert not asks_consent(flow, scope="openid profile email phone")
    assert asks_consent(flow, scope="openid address")


def test_nothing_is_marked_new_when_the_person_is_asked_for_the_first_time(flow: Flow) -> None:
    page = flow.open_page("/consent", flow.authorize(scope="openid profile phone offline_access"))
    assert ">New<" not in page.text
    assert "Already allowed" not in page.text
    sentences = re.findall(r"<p>((?:See|Keep)[^<]*[a-z])", page.text)
    assert sentences == ["See your phone number", "See your name and profile", "Keep this access while you are away"]


def test_page_says_so_when_only_the_identity_is_asked(flow: Flow) -> None:
    page = flow.open_page("/consent", flow.authorize(scope="openid"))
    assert "will be told that it is you, and nothing more" in page.text


def test_page_says_so_when_nothing_new_is_asked(flow: Flow) -> None:
    flow.code()
    page = flow.open_page("/consent", flow.authorize(prompt="consent"))
    assert "asks for nothing new" in page.text


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (CLIENT_URI, "https://app.example"),
        ("http://127.0.0.1/cb", "an app on this computer"),
        ("com.example.app:/cb", "com.example.app"),
    ],
)
@pytest.mark.spec("AZ-24")
def test_page_names_client_person_and_destination_when_it_asks(gatepost: Gatepost, uri: str, words: str) -> None:
    flow = flow_of(gatepost, "native", redirect_uris=(uri,), client_name="Note Taker", tos_uri="https://app.example/t")
    page = flow.open_page("/consent", flow.authorize())
    assert "Note Taker" in page.text
    assert "Ada Example" in page.text
    assert "ada@example.com" in page.text
    assert f"<strong>{words}</strong>" in page.text
    assert "https://app.example/t" in page.text


WARNING = "Any program on this device could be asking in the name of"


@pytest.mark.parametrize("uri", ["http://127.0.0.1/cb", "com.example.app:/cb"])
@pytest.mark.spec("AZ-24")
def test_page_warns_when_any_program_on_the_device_could_be_the_client(gatepost: Gatepost, uri: str) -> None:
    flow = flow_of(gatepost, "native", redirect_uris=(uri,))
    assert WARNING in flow.open_page("/consent", flow.authorize()).text


@pytest.mark.spec("AZ-24")
def test_page_does_not_warn_when_the_client_can_be_no_other(flow: Flow) -> None:
    assert WARNING not in flow.open_page("/consent", flow.authorize()).text


@pytest.mark.spec("AZ-24")
def test_page_tells_how_long_access_lasts_when_it_asks(flow: Flow) -> None:
    long = flow.open_page("/consent", flow.authorize(scope="openid offline_access"))
    assert "Access lasts up to <strong>180 days</strong>" in long.text
    flow.gatepost.clock.advance(4 * 86400)
    flow.code(scope="openid", prompt="login")
    short = flow.open_page("/consent", flow.authorize(scope="openid profile"))
    assert "Access ends when you sign out, after <strong>14 days</strong> at the latest" in short.text


@pytest.mark.spec("AZ-24")
def test_client_name_is_escaped_when_it_holds_markup(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, client_name='<b onmouseover="x">"Bold" \u00e9</b>')
    for path in ("/login", "/consent"):
        page = flow.open_page(path, flow.authorize())
        assert "<b onmouseover" not in page.text
        assert "&lt;b onmouseover=&#34;x&#34;&gt;" in page.text


# The answer is bound ----------------------------------------------------------------------------------------------


@pytest.mark.spec("AZ-25", "INV-07")
def test_posted_scope_is_ignored_when_the_form_was_altered(flow: Flow) -> None:
    page = flow.open_page("/consent", flow.authorize(scope="openid"))
    response = flow.submit(page, "/consent", decision="allow", scope="openid phone", scopes="phone")
    code = answer_of(flow.walk(response).headers["Location"])["code"]
    assert flow.redeem(code).get_json()["scope"] == "openid"


@pytest.mark.parametrize("decision", ["deny", "", "ALLOW", "allow "])
@pytest.mark.spec("RFC 6749 §4.1.2.1")
def test_access_is_denied_when_the_answer_is_anything_but_allow(flow: Flow, decision: str) -> None:
    page = flow.open_page("/consent", flow.authorize())
    response = flow.submit(page, "/consent", decision=decision)
    assert answer_of(response.headers["Location"])["error"] == "access_denied"
    row = flow.gatepost.audit_rows("consent.denied")[-1]
    assert row.client_id == flow.client.id
    assert row.user_id is not None
    assert "consent.given" not in flow.gatepost.audit_events()
    # Denied is not remembered: the next request asks again.
    assert asks_consent(flow)


def test_old_form_fails_when_another_account_was_chosen_in_another_tab(flow: Flow) -> None:
    """RFC 9700 §4.7: the answer belongs to the person who saw the question."""
    flow.gatepost.add_user("bob@example.com", name="Bob")
    flow.code(scope="openid")
    page = flow.open_page("/consent", flow.authorize(scope="openid phone"))
    assert "Ada Example" in page.text
    bob = Flow(flow.gatepost, flow.client, flow.secret, flow.browser, email="bob@example.com")
    bob.code(prompt="select_account", scope="openid")
    response = flow.submit(page, "/consent", decision="allow")
    assert response.status_code == 403
    assert "out of date" in response.text
    assert [row.details["scopes"] for row in flow.gatepost.audit_rows("consent.given")] == [["openid"], ["openid"]]
    # Asked anew, the page shows who would be consenting now.
    request_id = form_fields(page.text)["request"]
    assert "Bob" in flow.browser.get(f"/consent?request={request_id}").text


def test_old_form_fails_when_another_account_was_chosen_without_a_new_cookie(flow: Flow) -> None:
    flow.gatepost.add_user("bob@example.com", name="Bob")
    first = jwt_claims(flow.tokens(scope="openid")["id_token"])
    bob = Flow(flow.gatepost, flow.client, flow.secret, flow.browser, email="bob@example.com")
    bob.code(prompt="select_account", scope="openid")
    page = flow.open_page("/consent", flow.authorize(scope="openid phone"))
    assert "Bob" in page.text
    chooser = flow.open_page("/select-account", flow.authorize(prompt="select_account", scope="openid"))
    flow.submit(chooser, "/select-account", choose=session_id_of(flow.gatepost, first))
    assert flow.submit(page, "/consent", decision="allow").status_code == 403


def test_old_form_fails_when_the_person_signed_out_meanwhile(flow: Flow) -> None:
    page = flow.open_page("/consent", flow.authorize())
    flow.submit(flow.browser.get("/logout"), "/logout", decision="sign_out")
    response = flow.submit(page, "/consent", decision="allow")
    assert response.status_code == 303
    assert "consent.given" not in flow.gatepost.audit_events()
    assert flow.browser.get(response.headers["Location"]).headers["Location"].startswith("/login?")


def test_form_of_one_request_fails_when_it_is_sent_for_another(flow: Flow) -> None:
    first = form_fields(flow.open_page("/consent", flow.authorize(scope="openid")).text)
    second = form_fields(flow.open_page("/consent", flow.authorize(scope="openid phone")).text)
    mixed = {"csrf_token": first["csrf_token"], "request": second["request"], "decision": "allow"}
    assert flow.browser.post("/consent", data=mixed).status_code == 403
    assert "consent.given" not in flow.gatepost.audit_events()


def test_consent_page_gives_way_when_it_is_not_its_turn(flow: Flow) -> None:
    location = flow.authorize().headers["Location"]
    request_id = location.partition("request=")[2]
    for response in (
        flow.browser.get(f"/consent?request={request_id}"),
        flow.browser.post("/consent", data={"request": request_id, "decision": "allow"}),
    ):
        assert response.status_code == 303
        assert response.headers["Location"] == f"/oauth/authorize/resume/{request_id}"
    assert "consent.given" not in flow.gatepost.audit_events()


def test_page_links_to_the_chooser_when_the_person_wants_another_account(flow: Flow) -> None:
    page = flow.open_page("/consent", flow.authorize())
    request_id = form_fields(page.text)["request"]
    assert f'href="/select-account?request={request_id}"' in page.text
    flow.gatepost.add_user("bob@example.com", name="Bob")
    bob = Flow(flow.gatepost, flow.client, flow.secret, flow.browser, email="bob@example.com")
    chooser = flow.browser.get(f"/select-account?request={request_id}")
    code = answer_of(bob.walk(flow.submit(chooser, "/select-account", another="1")).headers["Location"])["code"]
    first, second = flow.gatepost.audit_rows("login.succeeded")
    assert second.user_id != first.user_id
    assert jwt_claims(flow.redeem(code).get_json()["id_token"])["sub"] == second.user_id


def test_client_may_have_no_scope_but_what_the_person_saw_when_the_registration_grew(flow: Flow) -> None:
    """INV-07: the stored request is what was shown; a registration changed meanwhile adds nothing."""
    page = flow.open_page("/consent", flow.authorize(scope="openid email"))
    flow.gatepost.change_client(flow.client.id, scope="openid profile email phone")
    code = answer_of(flow.walk(flow.submit(page, "/consent", decision="allow")).headers["Location"])["code"]
    assert flow.redeem(code).get_json()["scope"] == "openid email"


def test_page_is_an_error_when_the_person_is_deleted_in_that_very_moment(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.web.interaction.consent.find_user", lambda *_: None)
    page = flow.open_page("/consent", flow.authorize())
    assert page.status_code == 404
    assert "This account no longer exists." in page.text


def test_person_is_asked_when_another_account_is_chosen_after_the_first_one_allowed(flow: Flow) -> None:
    """One person's Allow is not spent for another: the second is asked, and may say no."""
    flow.gatepost.add_user("bob@example.com", name="Bob")
    flow.code(scope="openid", state="ada is known here")
    bob = Flow(flow.gatepost, flow.client, flow.secret, flow.browser, email="bob@example.com")
    bob_claims = jwt_claims(bob.tokens(prompt="select_account", scope="openid")["id_token"])
    bob_session = session_id_of(flow.gatepost, bob_claims)
    chooser = flow.open_page("/select-account", flow.authorize(prompt="select_account", scope="openid phone"))
    ada_session = re.findall(r'name="choose" value="([^"]*)"', chooser.text)
    ada_session.remove(bob_session)
    page = flow.open_page("/consent", flow.submit(chooser, "/select-account", choose=ada_session[0]))
    assert "Ada Example" in page.text
    request_id = form_fields(page.text)["request"]
    flow.submit(page, "/consent", decision="allow")
    again = flow.browser.get(f"/select-account?request={request_id}")
    asked = flow.browser.get(flow.submit(again, "/select-account", choose=bob_session).headers["Location"])
    assert asked.headers["Location"] == f"/consent?request={request_id}"
    page = flow.browser.get(asked.headers["Location"])
    assert "Bob" in page.text
    assert answer_of(flow.submit(page, "/consent", decision="deny").headers["Location"])["error"] == "access_denied"


# ------------------------------------------------------------------------------------------- wildcards and implication

OWN = {
    "notes:read": "Read your notes",
    "notes:write": "Change your notes",
    "notes:delete": {"sentence": "Delete your notes", "sensitive": True},
    "files:*:read": {"sentence": "Read your files", "detail": "Also those that others share with you"},
    "writer": {"sentence": "Write for you", "implies": ["notes:write", "files:*:read"]},
    "root": {"sentence": "Do everything", "implies": ["*"]},
}


def consent_page(make_gatepost: GatepostMaker, scope: str) -> str:
    flow = flow_of(make_gatepost(scopes=OWN), redirect_uris=(CLIENT_URI,))
    flow.gatepost.change_client(flow.client.id, scope=f"openid profile {scope}")
    return flow.open_page("/consent", flow.authorize(scope=f"openid profile {scope}")).text


def lines_of(page: str) -> list[tuple[str, bool, list[str]]]:
    """Each thing that is asked for: its sentence, whether it is marked as sensitive, and what it says it includes."""
    found = []
    for item in re.split(r"<li(?: class=\"sensitive\")?>\s*<svg", page)[1:]:
        sentence = re.search(r"<p>([^<]*[^< ])", item)
        assert sentence
        included = re.search(r"<ul class=\"included\">(.*?)</ul>", item)
        found.append((sentence[1], ">Sensitive<" in item, re.findall(r"<li>([^<]*)", included[1]) if included else []))
    return found


@pytest.mark.parametrize(
    ("scope", "line"),
    [
        ("notes:read", ("Read your notes", False, [])),
        (
            "notes:*",
            (
                "Do all of this, and what is added to it later",
                True,
                ["Read your notes", "Change your notes", "Delete your notes"],
            ),
        ),
        ("files:pictures:read", ("Read your files", False, [])),
        ("files:*:read", ("Read your files", False, [])),
        ("writer", ("Write for you", False, ["Change your notes", "Read your files"])),
        (
            "root",
            (
                "Do everything",
                True,
                ["Read your notes", "Change your notes", "Delete your notes", "Read your files", "Write for you"],
            ),
        ),
    ],
)
@pytest.mark.spec("AZ-24")
def test_page_says_all_that_a_wildcard_or_an_implication_brings(
    make_gatepost: GatepostMaker, scope: str, line: tuple[str, bool, list[str]]
) -> None:
    assert sorted(lines_of(consent_page(make_gatepost, scope))) == sorted(
        [line, ("See your name and profile", False, [])]
    )


def test_page_says_which_part_is_meant_when_the_catalogue_has_only_the_whole(make_gatepost: GatepostMaker) -> None:
    page = consent_page(make_gatepost, "files:pictures:read")
    assert "Only files:pictures:read" in page
    assert "Also those that others share" not in page


def test_page_folds_what_everything_includes_and_leaves_out_what_it_does_not_give(make_gatepost: GatepostMaker) -> None:
    page = consent_page(make_gatepost, "*")
    (everything, _profile) = lines_of(page)
    assert everything[:2] == ("Do everything that can be allowed here, now and later", True)
    assert {"Delete your organizations", "Read your notes"} <= set(everything[2])
    assert "See your email address" not in page
    assert "<details>" in page
    assert "<details open>" in consent_page(make_gatepost, "root")


def test_token_has_the_wildcard_that_the_person_saw(make_gatepost: GatepostMaker) -> None:
    flow = flow_of(make_gatepost(scopes=OWN), redirect_uris=(CLIENT_URI,))
    flow.gatepost.change_client(flow.client.id, scope="openid *")
    tokens = flow.tokens(scope="openid notes:*")
    assert tokens["scope"] == "openid notes:*"
    (given,) = flow.gatepost.audit_rows("consent.given")
    assert sorted(given.details["scopes"]) == ["notes:*", "openid"]
