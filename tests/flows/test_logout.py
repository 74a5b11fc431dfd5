"""RP-initiated logout: who may sign whom out at once, who is asked first, and where the browser goes then."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from server.domain import signing_keys
from server.domain.key_rotation import remove_retired_keys, rotate_in_emergency, rotate_key
from server.domain.outbox import OutboxMessage
from server.infra import jose, jwe
from tests.support.altered import altered
from tests.support.application import Gatepost
from tests.support.flow import Flow, answer_of, flow_of, form_fields, jwt_claims, session_id_of

AFTER = "https://app.example/signed-out"
STATE = "s" * 128


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",), post_logout_redirect_uris=(AFTER,))


def is_signed_in(flow: Flow) -> bool:
    return "code" in answer_of(flow.authorize(prompt="none").headers["Location"])


def id_token(flow: Flow, **changes: str | None) -> str:
    token: str = flow.tokens(**changes)["id_token"]
    return token


def ask(flow: Flow, method: str = "GET", **parameters: str) -> TestResponse:
    """Sends the browser to the end session endpoint as a client does."""
    if method == "GET":
        return flow.browser.get("/logout", query_string=parameters)
    answer = flow.gatepost.app.test_client().post("/logout", data=parameters, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 303
    return flow.browser.get(answer.headers["Location"])


def confirm(flow: Flow, page: TestResponse) -> TestResponse:
    assert 'id="logout-confirm"' in page.text
    return flow.submit(page, "/logout", decision="sign_out")


def told(gatepost: Gatepost) -> list[dict[str, Any]]:
    with gatepost.work() as work:
        return [row.payload for row in work.db.scalars(select(OutboxMessage).order_by(OutboxMessage.id))]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.spec("RP-Initiated Logout 1.0 §2", "RP-Initiated Logout 1.0 §3")
@pytest.mark.spec("TK-31")
def test_browser_goes_back_with_the_state_when_the_client_shows_its_id_token(flow: Flow, method: str) -> None:
    hint = id_token(flow)
    answer = ask(flow, method, id_token_hint=hint, post_logout_redirect_uri=AFTER, state=STATE)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{AFTER}?state={STATE}")
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert not is_signed_in(flow)
    (row,) = flow.gatepost.audit_rows("session.ended")
    assert (row.actor_kind, row.actor_id) == ("user", row.user_id)


@pytest.fixture
def posted(flow: Flow) -> tuple[str, dict[str, str]]:
    """An ID token, and what the browser is sent with after a client has posted it."""
    hint = id_token(flow)
    form = {"id_token_hint": hint, "post_logout_redirect_uri": AFTER, "state": STATE, "logout_hint": "ada"}
    location = flow.gatepost.browser().post("/logout", data=form).headers["Location"]
    path, _, query = location.partition("?")
    assert path == "/logout"
    return hint, dict(parse_qsl(query))


@pytest.mark.spec("INV-22")
def test_id_token_stands_in_no_address_when_it_was_posted(flow: Flow, posted: tuple[str, dict[str, str]]) -> None:
    hint, query = posted
    sid = jwt_claims(hint)["sid"]
    proof = query.pop("proof")
    assert query == {"client_id": flow.client.id, "post_logout_redirect_uri": AFTER, "state": STATE}
    assert proof.startswith(f"{sid}.")
    assert not any(part in proof for part in hint.split("."))
    assert ask(flow, **query, proof=proof).headers["Location"] == f"{AFTER}?state={STATE}"
    assert not is_signed_in(flow)


def test_posted_hint_is_remembered_for_two_minutes(flow: Flow, posted: tuple[str, dict[str, str]]) -> None:
    flow.gatepost.clock.advance(121)
    assert 'id="logout-confirm"' in ask(flow, **posted[1]).text
    assert is_signed_in(flow)


@pytest.mark.parametrize(
    "change", ["session", "time", "client", "seal", "nothing", "one part", "four parts", "letters"]
)
@pytest.mark.spec("TK-31")
def test_person_is_asked_when_what_stands_for_the_hint_was_changed(
    flow: Flow, posted: tuple[str, dict[str, str]], change: str
) -> None:
    flow.gatepost.add_client(client_id="another", post_logout_redirect_uris=(AFTER,))
    query = posted[1]
    sid, until, seal = query["proof"].split(".")
    changed = {
        "session": f"{altered(sid)}.{until}.{seal}",
        "time": f"{sid}.{int(until) + 1}.{seal}",
        "seal": f"{sid}.{until}.{altered(seal, 0)}",
        "nothing": "",
        "one part": seal,
        "four parts": f"{sid}.{until}.{seal}.x",
        "letters": f"{sid}.x.é",
    }
    query["proof"] = changed.get(change, query["proof"])
    query["client_id"] = "another" if change == "client" else query["client_id"]
    assert 'id="logout-confirm"' in ask(flow, **query).text
    assert is_signed_in(flow)


def test_what_stands_for_a_hint_is_not_renewed_when_it_is_posted(
    flow: Flow, posted: tuple[str, dict[str, str]]
) -> None:
    answer = flow.gatepost.browser().post("/logout", data=posted[1])
    assert "proof" not in answer.headers["Location"]


def test_error_is_shown_at_once_when_a_posted_request_is_wrong(flow: Flow) -> None:
    form = {"id_token_hint": id_token(flow), "post_logout_redirect_uri": "https://evil.test/"}
    answer = flow.gatepost.browser().post("/logout", data=form)
    assert answer.status_code == 400
    assert 'id="error-page"' in answer.text


def test_no_state_comes_back_when_none_was_sent(flow: Flow) -> None:
    answer = ask(flow, id_token_hint=id_token(flow), post_logout_redirect_uri=AFTER)
    assert answer.headers["Location"] == AFTER


def test_registered_query_stays_when_the_state_is_added(flow: Flow) -> None:
    uri = "https://app.example/out?from=gatepost"
    flow.gatepost.change_client(flow.client.id, post_logout_redirect_uris=[uri])
    answer = ask(flow, id_token_hint=id_token(flow), post_logout_redirect_uri=uri, state="a b&c=d#e")
    assert answer.headers["Location"] == f"{uri}&state=a+b%26c%3Dd%23e"


def test_hint_counts_when_it_has_expired(flow: Flow) -> None:
    hint = id_token(flow)
    flow.gatepost.clock.advance(flow.gatepost.settings.id_token_lifetime + 1)
    assert ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER).headers["Location"] == AFTER
    assert not is_signed_in(flow)


@pytest.mark.parametrize("emergency", [False, True])
def test_hint_counts_when_its_key_left_by_schedule_and_not_when_it_leaked(flow: Flow, emergency: bool) -> None:
    hint = id_token(flow)
    with flow.gatepost.work() as work:
        (rotate_in_emergency if emergency else rotate_key)(work, "RS256")
    for _ in range(5):
        flow.gatepost.clock.advance(12 * 3600)
        assert is_signed_in(flow)
    with flow.gatepost.work() as work:
        remove_retired_keys(work)
    answer = ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER)
    assert answer.headers.get("Location") == (None if emergency else AFTER)
    assert is_signed_in(flow) == emergency


def encrypted(gatepost: Gatepost, token: str, alg: str) -> str:
    """A token as somebody encrypts it to this server."""
    with gatepost.work() as work:
        return jwe.encrypt(token, signing_keys.jwk_set(work), alg, "A256GCM")


@pytest.mark.parametrize("alg", jwe.DECRYPTION_ALGORITHMS)
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_hint_counts_when_the_client_encrypted_it_to_us(flow: Flow, alg: str) -> None:
    hint = encrypted(flow.gatepost, id_token(flow), alg)
    assert "code" in answer_of(flow.authorize(prompt="none", id_token_hint=hint).headers["Location"])
    assert ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER).headers["Location"] == AFTER
    assert not is_signed_in(flow)


@pytest.mark.parametrize("what", ["forged", "access token", "of no form", "cut short"])
@pytest.mark.spec("TK-31")
def test_person_is_asked_when_what_was_encrypted_to_us_is_no_id_token(flow: Flow, what: str) -> None:
    tokens = flow.tokens()
    inside = {
        "forged": altered(tokens["id_token"], -9),
        "access token": tokens["access_token"],
        "of no form": "x",
        "cut short": tokens["id_token"],
    }
    hint = encrypted(flow.gatepost, inside[what], "ECDH-ES")
    page = ask(flow, id_token_hint=hint[:-9] if what == "cut short" else hint, post_logout_redirect_uri=AFTER)
    assert 'id="logout-confirm"' in page.text
    assert AFTER not in page.text
    assert is_signed_in(flow)


def test_hint_counts_when_the_person_signed_in_again_since(flow: Flow) -> None:
    hint = id_token(flow)
    flow.gatepost.clock.advance(5)
    flow.code(prompt="login")
    assert ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER).headers["Location"] == AFTER
    assert not is_signed_in(flow)


def test_our_own_page_ends_it_when_the_client_names_no_place_to_go(flow: Flow) -> None:
    answer = ask(flow, id_token_hint=id_token(flow))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/signed-out")
    assert not is_signed_in(flow)


def test_last_page_leads_back_to_the_app_when_the_app_has_a_page(flow: Flow) -> None:
    flow.gatepost.change_client(flow.client.id, client_uri="https://app.example/")
    answer = ask(flow, id_token_hint=id_token(flow))
    assert answer.status_code == 200
    assert 'id="logged-out"' in answer.text
    assert "Signed out" in answer.text
    assert 'href="https://app.example/"' in answer.text


@pytest.mark.parametrize("parameters", [{}, {"state": STATE}, {"post_logout_redirect_uri": AFTER, "state": STATE}])
@pytest.mark.spec("RP-Initiated Logout 1.0 §2")
@pytest.mark.spec("TK-31", "C-02")
def test_person_is_asked_and_stays_here_when_nothing_proves_who_asks(flow: Flow, parameters: dict[str, str]) -> None:
    flow.code()
    page = ask(flow, **parameters)
    assert is_signed_in(flow)
    answer = confirm(flow, page)
    assert answer.headers["Location"] == "/signed-out"
    assert not is_signed_in(flow)


@pytest.mark.spec("RP-Initiated Logout 1.0 §2")
def test_person_is_asked_and_goes_back_when_the_client_only_names_itself(flow: Flow) -> None:
    flow.code()
    page = ask(flow, client_id=flow.client.id, post_logout_redirect_uri=AFTER, state=STATE)
    assert "Sample app" in page.text
    assert is_signed_in(flow)
    assert confirm(flow, page).headers["Location"] == f"{AFTER}?state={STATE}"
    assert not is_signed_in(flow)


def test_person_stays_signed_in_when_they_say_so(flow: Flow) -> None:
    flow.code()
    page = ask(flow, client_id=flow.client.id, post_logout_redirect_uri=AFTER)
    assert flow.submit(page, "/logout", decision="stay").headers["Location"] == "/"
    assert is_signed_in(flow)


def forged(flow: Flow, kind: str) -> str:
    """ID tokens that are none of ours, or not of this kind."""
    genuine = id_token(flow)
    header, payload, signature = genuine.split(".")
    if kind == "alg none":
        return f"eyJhbGciOiJub25lIn0.{payload}."
    if kind == "signature":
        return f"{header}.{payload}.{'A' * len(signature)}"
    if kind == "key of the client":
        key = jose.generate_key("RS256")
        return jose.sign({**jwt_claims(genuine), "iss": flow.client.id}, key, "RS256", "JWT")
    if kind == "access token":
        return str(flow.tokens()["access_token"])
    if kind == "other issuer":
        with flow.gatepost.work() as work:
            key = signing_keys.signing_key(work, "RS256")
        return jose.sign({**jwt_claims(genuine), "iss": "https://elsewhere.example"}, key, "RS256", "JWT")
    return "x" * 20_000 if kind == "huge" else "no token"


@pytest.mark.parametrize(
    "kind", ["alg none", "signature", "key of the client", "access token", "other issuer", "huge", "no token"]
)
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.spec("RP-Initiated Logout 1.0 §4")
@pytest.mark.spec("TK-31")
def test_person_is_asked_and_stays_here_when_the_hint_is_not_genuine(flow: Flow, kind: str, named: bool) -> None:
    hint = forged(flow, kind)
    more = {"client_id": flow.client.id} if named else {}
    page = ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER, state=STATE, **more)
    assert page.status_code == 200
    assert AFTER not in page.text
    assert is_signed_in(flow)
    assert confirm(flow, page).headers["Location"] == "/signed-out"


MUTATIONS = [
    AFTER + "?x=1",
    AFTER + "/",
    AFTER + "#f",
    AFTER.upper(),
    AFTER.replace("https", "http"),
    AFTER.replace("app.example", "app.example.evil.test"),
    AFTER.replace("app.example", "app.example:443"),
    "https://evil.test/",
    "//app.example/signed-out",
    "javascript:alert(1)",
    "/signed-out",
    AFTER + " ",
    AFTER.replace("signed-out", "%73igned-out"),
]


@pytest.mark.parametrize("uri", MUTATIONS)
@pytest.mark.parametrize("hinted", [True, False])
@pytest.mark.spec("RP-Initiated Logout 1.0 §3")
@pytest.mark.spec("TK-31", "C-09")
def test_error_is_shown_and_nobody_signed_out_when_the_uri_is_not_registered(
    flow: Flow, uri: str, hinted: bool
) -> None:
    hint = id_token(flow)
    who = {"id_token_hint": hint} if hinted else {"client_id": flow.client.id}
    answer = ask(flow, **who, post_logout_redirect_uri=uri, state=STATE)
    assert answer.status_code == 400
    assert 'id="error-page"' in answer.text
    assert "post_logout_redirect_uri is not registered" in answer.text
    assert "Location" not in answer.headers
    assert is_signed_in(flow)


def test_uri_is_checked_again_when_the_form_comes_back(flow: Flow) -> None:
    flow.code()
    form = form_fields(ask(flow, client_id=flow.client.id, post_logout_redirect_uri=AFTER).text)
    form |= {"post_logout_redirect_uri": "https://evil.test/", "decision": "sign_out"}
    answer = flow.browser.post("/logout", data=form)
    assert answer.status_code == 400
    assert is_signed_in(flow)


@pytest.mark.spec("RP-Initiated Logout 1.0 §2")
def test_error_is_shown_when_the_client_named_is_not_the_hints(flow: Flow) -> None:
    flow.gatepost.add_client(client_id="another", post_logout_redirect_uris=(AFTER,))
    answer = ask(flow, id_token_hint=id_token(flow), client_id="another", post_logout_redirect_uri=AFTER)
    assert answer.status_code == 400
    assert is_signed_in(flow)


@pytest.mark.parametrize("name", ["id_token_hint", "client_id", "post_logout_redirect_uri", "state"])
def test_error_is_shown_when_a_parameter_stands_twice(flow: Flow, name: str) -> None:
    flow.code()
    query = urlencode([("client_id", flow.client.id), (name, "x"), (name, "y")])
    assert flow.browser.get(f"/logout?{query}").status_code == 400
    assert flow.gatepost.browser().post("/logout", data=query, content_type=FORM).status_code == 400
    assert is_signed_in(flow)


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("fault", ["unknown", "disabled"])
def test_person_is_asked_and_stays_here_when_the_client_is_unknown_or_disabled(flow: Flow, fault: str) -> None:
    hint = id_token(flow)
    if fault == "disabled":
        flow.gatepost.change_client(flow.client.id, disabled_at=flow.gatepost.clock.now())
        page = ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER)
    else:
        page = ask(flow, client_id="nobody", post_logout_redirect_uri=AFTER)
    assert confirm(flow, page).headers["Location"] == "/signed-out"


@pytest.mark.spec("RP-Initiated Logout 1.0 §2")
@pytest.mark.spec("TK-31")
def test_somebody_else_is_asked_when_the_hint_is_not_of_their_session(flow: Flow) -> None:
    """Mallory's own ID token signs nobody out but Mallory."""
    flow.gatepost.add_user("mallory@example.com", password="a password of mallory")
    mallory = Flow(
        flow.gatepost, flow.client, flow.secret, flow.gatepost.browser(), "mallory@example.com", "a password of mallory"
    )
    hint = id_token(mallory)
    flow.code()
    page = ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER)
    assert "Ada Example" in page.text
    assert is_signed_in(flow)
    assert confirm(flow, page).headers["Location"] == AFTER
    assert is_signed_in(mallory)


def test_person_is_asked_when_the_hint_is_of_their_session_on_another_browser(flow: Flow) -> None:
    elsewhere = Flow(flow.gatepost, flow.client, flow.secret, flow.gatepost.browser())
    hint = id_token(elsewhere)
    flow.code()
    page = ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER)
    assert 'id="logout-confirm"' in page.text
    assert is_signed_in(flow)


def test_only_the_hints_person_is_signed_out_when_several_are_signed_in(flow: Flow) -> None:
    flow.gatepost.add_user("bob@example.com", name="Bob Builder")
    hint = id_token(flow)
    bob = Flow(flow.gatepost, flow.client, flow.secret, flow.browser, "bob@example.com")
    bob.code(prompt="select_account")
    assert ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER).headers["Location"] == AFTER
    page = flow.browser.get("/logout")
    assert "Bob Builder" in page.text
    assert "Ada Example" not in page.text


def test_browser_goes_back_when_nobody_is_signed_in_any_more(flow: Flow) -> None:
    hint = id_token(flow)
    for _ in range(2):
        answer = ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER, state="x")
        assert answer.headers["Location"] == f"{AFTER}?state=x"
    assert flow.gatepost.audit_events().count("session.ended") == 1
    stranger = flow.gatepost.browser().get("/logout", query_string={"client_id": flow.client.id})
    assert stranger.headers["Location"] == "/signed-out"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("state", [None, "x"])
@pytest.mark.spec("RP-Initiated Logout 1.0 §3")
@pytest.mark.spec("TK-31", "C-09")
def test_browser_is_sent_nowhere_when_nobody_is_signed_in_and_nothing_proves_who_asks(
    flow: Flow, method: str, state: str | None
) -> None:
    """Whoever registers a client may write such a link: it would be our name in front of any address."""
    more = {"state": state} if state else {}
    page = ask(flow, method, client_id=flow.client.id, post_logout_redirect_uri=AFTER, **more)
    assert page.status_code == 200
    assert 'id="logged-out"' in page.text
    assert "Go on to <bdi>https://app.example</bdi>" in page.text
    assert f'href="{AFTER}{"?state=x" if state else ""}"' in page.text
    assert "http-equiv" not in page.text
    assert "Sample app" not in page.text


def test_app_on_the_device_is_called_by_its_scheme_when_a_link_leads_there(gatepost: Gatepost) -> None:
    uri = "com.example.app:/bye"
    flow = flow_of(gatepost, "native", redirect_uris=("com.example.app:/cb",), post_logout_redirect_uris=(uri,))
    page = ask(flow, client_id=flow.client.id, post_logout_redirect_uri=uri)
    assert "Go on to <bdi>com.example.app</bdi>" in page.text
    assert f'href="{uri}"' in page.text


def test_nothing_happens_when_only_the_head_is_asked_for(flow: Flow) -> None:
    query = urlencode({"id_token_hint": id_token(flow)})
    flow.browser.head(f"/logout?{query}")
    assert is_signed_in(flow)
    assert told(flow.gatepost) == []


@pytest.mark.spec("TK-31", "C-01")
def test_nobody_is_signed_out_by_a_form_of_another_site(flow: Flow) -> None:
    flow.code()
    for form in ({"decision": "sign_out"}, {"decision": "sign_out", "csrf_token": "x"}, {"csrf_token": ""}):
        assert flow.browser.post("/logout", data=form).status_code == 403
    assert flow.browser.post("/logout", data={}).headers["Location"] == "/logout"
    assert is_signed_in(flow)


@pytest.mark.spec("Back-Channel Logout 1.0 §2.3")
@pytest.mark.spec("R-38")
def test_client_is_told_the_sub_and_sid_of_its_id_token_before_the_answer_leaves(flow: Flow) -> None:
    flow.gatepost.change_client(flow.client.id, backchannel_logout_uri="https://app.example/back")
    hint = id_token(flow)
    ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER)
    (payload,) = told(flow.gatepost)
    claims = jwt_claims(hint)
    assert (payload["sub"], payload["sid"]) == (claims["sub"], claims["sid"])


@pytest.mark.spec("OIDC Core §8.1")
def test_clients_cannot_compare_sessions_when_they_are_told_of_one(flow: Flow) -> None:
    """A session known by one name to all would tell two clients that their pairwise subjects are one person."""
    told_by_tokens, told_by_frames = set(), set()
    for number in range(2):
        host = f"https://app{number}.example"
        uris = {"frontchannel_logout_uri": f"{host}/front", "backchannel_logout_uri": f"{host}/back"}
        another = flow_of(flow.gatepost, client_id=f"app{number}", redirect_uris=(f"{host}/cb",))
        flow.gatepost.change_client(another.client.id, subject_type="pairwise", **uris)
        another.browser = flow.browser
        claims = jwt_claims(id_token(another))
        told_by_tokens.add((claims["sub"], claims["sid"]))
    page = confirm(flow, ask(flow))
    for url in frame_urls(page):
        (name,) = parse_qs(urlsplit(url).query)["sid"]
        told_by_frames.add(name)
    sids = {sid for _, sid in told_by_tokens}
    assert len(sids) == 2
    assert told_by_frames == sids
    assert {(row["sub"], row["sid"]) for row in told(flow.gatepost)} == told_by_tokens


def test_hint_counts_when_it_tells_the_id_of_the_session_itself(flow: Flow) -> None:
    """As ID tokens did before each client had a name of its own for it."""
    claims = jwt_claims(id_token(flow))
    with flow.gatepost.work() as work:
        key = signing_keys.signing_key(work, "RS256")
    hint = jose.sign({**claims, "sid": session_id_of(flow.gatepost, claims)}, key, "RS256", "JWT")
    assert ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER).headers["Location"] == AFTER
    assert not is_signed_in(flow)


def test_name_of_the_session_is_nobodys_hint_when_another_client_was_told_it(flow: Flow) -> None:
    claims = jwt_claims(id_token(flow))
    flow.gatepost.add_client(client_id="another", post_logout_redirect_uris=(AFTER,))
    with flow.gatepost.work() as work:
        key = signing_keys.signing_key(work, "RS256")
    hint = jose.sign({**claims, "aud": "another"}, key, "RS256", "JWT")
    assert 'id="logout-confirm"' in ask(flow, id_token_hint=hint).text
    assert is_signed_in(flow)


def frame_urls(page: TestResponse) -> list[str]:
    return [url.replace("&amp;", "&") for url in re.findall(r'<iframe src="([^"]+)"', page.text)]


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.spec("Front-Channel Logout 1.0 §2")
def test_page_frames_the_clients_logout_pages_and_goes_on(flow: Flow, asked: bool) -> None:
    flow.gatepost.change_client(flow.client.id, frontchannel_logout_uri="https://app.example/front?a=b")
    flow.gatepost.add_client(
        client_id="unconcerned",
        redirect_uris=("https://other.example/cb",),
        frontchannel_logout_uri="https://other.example/front",
    )
    hint = id_token(flow)
    sid = jwt_claims(hint)["sid"]
    if asked:
        page = confirm(flow, ask(flow, client_id=flow.client.id, post_logout_redirect_uri=AFTER, state="x"))
    else:
        page = ask(flow, id_token_hint=hint, post_logout_redirect_uri=AFTER, state="x")
    assert page.status_code == 200
    (url,) = frame_urls(page)
    assert url.startswith("https://app.example/front?a=b&")
    assert parse_qs(urlsplit(url).query) == {"a": ["b"], "iss": [flow.gatepost.settings.issuer], "sid": [sid]}
    policy = page.headers["Content-Security-Policy"]
    assert "; frame-src https://app.example;" in f"{policy};"
    assert "script-src 'self'" in policy
    assert f'content="4; url={AFTER}?state=x"' in page.text
    assert f'href="{AFTER}?state=x"' in page.text
    assert page.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert not is_signed_in(flow)


def test_frames_show_again_when_the_button_was_clicked_twice(flow: Flow) -> None:
    flow.gatepost.change_client(flow.client.id, frontchannel_logout_uri="https://app.example/front")
    flow.code()
    flow.gatepost.clock.advance(60)
    form = {**form_fields(flow.browser.get("/logout").text), "decision": "sign_out"}
    cookie = flow.browser.get_cookie("gatepost")
    assert cookie is not None
    late = flow.gatepost.browser()
    late.set_cookie("gatepost", cookie.value)
    first, second = flow.browser.post("/logout", data=form), late.post("/logout", data=form)
    assert frame_urls(first) == frame_urls(second) != []


def test_each_origin_stands_once_in_the_policy_when_several_clients_have_pages(flow: Flow) -> None:
    uris = ("https://app.example/a", "https://app.example/b", "https://z.example:8443/c")
    for number, uri in enumerate(uris):
        another = flow_of(flow.gatepost, client_id=f"app{number}", redirect_uris=("https://app.example/cb",))
        flow.gatepost.change_client(another.client.id, frontchannel_logout_uri=uri)
        another.browser = flow.browser
        another.code()
    page = confirm(flow, ask(flow))
    assert len(frame_urls(page)) == 3
    assert page.headers["Content-Security-Policy"].endswith(
        "; script-src 'self'; frame-src https://app.example https://z.example:8443"
    )
    assert 'url=/signed-out"' in page.text
