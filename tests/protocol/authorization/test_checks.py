"""THE TABLE: each check refuses what it is there for, in its place in the order."""

import itertools
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from werkzeug.test import TestResponse

from server.protocol.authorization import checks
from tests.support.altered import altered
from tests.support.application import ISSUER, REDIRECT_URI, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import CHALLENGE, Flow, answer_of, flow_of


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost)


def error_of(response: TestResponse) -> dict[str, str]:
    """The error that was sent to the client."""
    assert response.status_code == 303, response.text
    location = response.headers["Location"]
    assert location.startswith((f"{REDIRECT_URI}?", f"{REDIRECT_URI}#")), location
    answer = answer_of(location.replace("#", "?"))
    assert "code" not in answer
    assert answer["iss"] == ISSUER
    return answer


def assert_shown(response: TestResponse, parameter: str | None = None) -> None:
    """An error page, and no way to the client."""
    assert response.status_code == 400
    assert "Location" not in response.headers
    assert 'id="error-page"' in response.text
    if parameter is not None:
        assert f"<dt>Parameter</dt><dd><code>{parameter}</code></dd>" in response.text


def assert_accepted(response: TestResponse) -> None:
    assert response.status_code == 303
    assert response.headers["Location"].startswith("/login?request=")


def test_checks_prove_client_and_redirect_uri_first_when_read_top_to_bottom() -> None:
    assert [check.__name__ for check in checks.CHECKS] == [
        "check_client",
        "check_redirect_uri",
        "check_request_object",
        "check_response_mode",
        "check_parameters",
        "check_registration",
        "check_response_type",
        "check_scope",
        "check_nonce",
        "check_code_challenge",
        "check_prompt",
        "check_max_age",
        "check_claims",
        "check_subject",
    ]


# Client and redirect URI: shown, never redirected -----------------------------------------------------------------


@pytest.mark.parametrize("client_id", [None, "", "nobody", "usr_x", "\0", "é", "sample-web ", "SAMPLE-WEB", "x" * 101])
@pytest.mark.spec("RFC 6749 §4.1.2.1")
def test_error_page_is_shown_when_the_client_is_unknown(flow: Flow, client_id: str | None) -> None:
    assert_shown(flow.authorize(client_id=client_id), "client_id")


def test_error_page_is_shown_when_the_client_is_disabled(flow: Flow) -> None:
    flow.gatepost.change_client(flow.client.id, disabled_at=flow.gatepost.clock.now())
    assert_shown(flow.authorize(), "client_id")


@pytest.mark.parametrize(
    "redirect_uri",
    [
        None,
        "",
        REDIRECT_URI + "/",
        REDIRECT_URI + "?x=1",
        REDIRECT_URI + "#",
        REDIRECT_URI.upper(),
        REDIRECT_URI.replace("9000", "9001"),
        REDIRECT_URI.replace("http", "https"),
        REDIRECT_URI + "%00",
        REDIRECT_URI + "\0",
        "http://localhost:9000/./callback",
        "http://evil.example/",
        "//evil.example",
        "urn:ietf:wg:oauth:2.0:oob",
        "javascript:alert(1)",
    ],
)
@pytest.mark.spec("RFC 6749 §3.1.2.4", "RFC 9700 §4.1.3")
def test_error_page_is_shown_when_the_redirect_uri_is_not_registered(flow: Flow, redirect_uri: str | None) -> None:
    assert_shown(flow.authorize(redirect_uri=redirect_uri), "redirect_uri")


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
@pytest.mark.parametrize("other", ["same", "different"])
def test_error_page_is_shown_when_client_or_redirect_uri_stand_twice(flow: Flow, name: str, other: str) -> None:
    wanted = flow.parameters()
    query = urlencode([*wanted.items(), (name, wanted[name] if other == "same" else "other")])
    assert_shown(flow.browser.get(f"/oauth/authorize?{query}"), name)


#: Whatever else is wrong with a request, it must not redirect before client and redirect URI are proven.
ALSO_WRONG: dict[str, dict[str, str | None]] = {
    "nothing": {},
    "response_type": {"response_type": "token"},
    "no response_type": {"response_type": None},
    "response_mode": {"response_mode": "fragment"},
    "scope": {"scope": '"'},
    "no openid": {"scope": "profile"},
    "prompt=none": {"prompt": "none"},
    "request object": {"request": "broken"},
    "request_uri": {"request_uri": "urn:ietf:params:oauth:request_uri:expired"},
    "no PKCE": {"code_challenge": None, "code_challenge_method": None},
    "hint": {"id_token_hint": "broken"},
    "form_post": {"response_mode": "form_post", "prompt": "none"},
}
UNPROVEN: dict[str, dict[str, str | None]] = {
    "unknown client": {"client_id": "nobody"},
    "no client": {"client_id": None},
    "unregistered redirect": {"redirect_uri": "https://evil.example/cb"},
    "no redirect": {"redirect_uri": None},
}


@pytest.mark.parametrize("wrong", ALSO_WRONG)
@pytest.mark.spec("RFC 6749 §3.1.2.4", "RFC 9700 §4.11.2")
def test_nothing_redirects_before_client_and_redirect_uri_are_proven_when_more_is_wrong(flow: Flow, wrong: str) -> None:
    signed_in = flow_of(flow.gatepost, client_id="other")
    signed_in.code()
    people = (flow.gatepost.browser(), signed_in.browser)
    for (unproven, changes), browser, method in itertools.product(UNPROVEN.items(), people, ("GET", "POST")):
        wanted = flow.parameters(**{**ALSO_WRONG[wrong], **changes})
        response = (
            browser.get("/oauth/authorize", query_string=wanted)
            if method == "GET"
            else browser.post("/oauth/authorize", data=wanted)
        )
        assert response.status_code == 400, (unproven, method)
        assert "Location" not in response.headers
        assert "evil.example" not in response.text


# Everything after: sent to the client -----------------------------------------------------------------------------

REFUSED: tuple[tuple[str, dict[str, str | None], str], ...] = (
    ("unknown response mode", {"response_mode": "web_message"}, "invalid_request"),
    ("response_type missing", {"response_type": None}, "invalid_request"),
    ("response_type token", {"response_type": "token"}, "unsupported_response_type"),
    ("response_type id_token", {"response_type": "id_token"}, "unauthorized_client"),
    ("response_type id_token token", {"response_type": "id_token token"}, "unauthorized_client"),
    ("response_type code token", {"response_type": "code token"}, "unauthorized_client"),
    ("response_type code id_token", {"response_type": "code id_token"}, "unauthorized_client"),
    ("response_type none", {"response_type": "none"}, "unauthorized_client"),
    ("response_type code code", {"response_type": "code code"}, "unsupported_response_type"),
    ("claims not JSON", {"claims": "name"}, "invalid_request"),
    ("claims a list", {"claims": "[]"}, "invalid_request"),
    ("claims endless", {"claims": "[" * 3000}, "invalid_request"),
    ("claims of a text", {"claims": '{"userinfo": "name"}'}, "invalid_request"),
    ("claims wished for by a text", {"claims": '{"userinfo": {"name": "yes"}}'}, "invalid_request"),
    ("claims essential by a text", {"claims": '{"id_token": {"name": {"essential": "yes"}}}'}, "invalid_request"),
    ("claims without openid", {"claims": "{}", "scope": "profile"}, "invalid_request"),
    ("response_type CODE", {"response_type": "CODE"}, "unsupported_response_type"),
    ("scope missing", {"scope": None}, "invalid_scope"),
    ("scope unknown", {"scope": "admin everything"}, "invalid_scope"),
    ("scope malformed", {"scope": 'openid "'}, "invalid_scope"),
    ("scope with a tab", {"scope": "openid\tprofile"}, "invalid_scope"),
    ("scope not ASCII", {"scope": "openid é"}, "invalid_scope"),
    ("scope of spaces", {"scope": "   "}, "invalid_scope"),
    ("no challenge", {"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    ("method without challenge", {"code_challenge": None}, "invalid_request"),
    ("challenge without method", {"code_challenge_method": None}, "invalid_request"),
    ("plain", {"code_challenge_method": "plain"}, "invalid_request"),
    ("s256", {"code_challenge_method": "s256"}, "invalid_request"),
    ("S512", {"code_challenge_method": "S512"}, "invalid_request"),
    ("challenge of 42", {"code_challenge": CHALLENGE[:-1]}, "invalid_request"),
    ("challenge of 44", {"code_challenge": CHALLENGE + "A"}, "invalid_request"),
    ("challenge of 129", {"code_challenge": "A" * 129}, "invalid_request"),
    ("challenge with padding", {"code_challenge": CHALLENGE[:-1] + "="}, "invalid_request"),
    ("challenge not ASCII", {"code_challenge": CHALLENGE[:-1] + "é"}, "invalid_request"),
    ("prompt unknown", {"prompt": "create"}, "invalid_request"),
    ("prompt NONE", {"prompt": "NONE"}, "invalid_request"),
    ("prompt none login", {"prompt": "none login"}, "invalid_request"),
    ("prompt none consent", {"prompt": "consent none"}, "invalid_request"),
    ("prompt none select_account", {"prompt": "none select_account"}, "invalid_request"),
    ("max_age negative", {"max_age": "-1"}, "invalid_request"),
    ("max_age text", {"max_age": "soon"}, "invalid_request"),
    ("max_age fraction", {"max_age": "1.5"}, "invalid_request"),
    ("max_age other digits", {"max_age": "\N{ARABIC-INDIC DIGIT FIVE}"}, "invalid_request"),
    ("max_age endless", {"max_age": "9" * 11}, "invalid_request"),
    ("id_token_hint garbage", {"id_token_hint": "garbage"}, "invalid_request"),
    ("request", {"request": "e30.e30."}, "invalid_request_object"),
    ("request_uri", {"request_uri": "https://app.example/request"}, "invalid_request_uri"),
    ("registration", {"registration": "{}"}, "registration_not_supported"),
    ("NUL in the nonce", {"nonce": "a\0b"}, "invalid_request"),
    ("a nonce of 4001 characters", {"nonce": "x" * 4001}, "invalid_request"),
    ("a state of 4001 characters", {"state": "x" * 4001}, "invalid_request"),
)  # fmt: skip


@pytest.mark.parametrize(("changes", "error"), [(c, e) for _, c, e in REFUSED], ids=[name for name, _, _ in REFUSED])
@pytest.mark.spec("RFC 6749 §4.1.2.1", "RFC 9207 §2", "OpenID Connect Core §3.1.2.6")
def test_client_is_told_the_error_when_a_later_check_fails(
    flow: Flow, changes: dict[str, str | None], error: str
) -> None:
    answer = error_of(flow.authorize(**changes))
    assert answer["error"] == error
    assert answer["state"] == changes.get("state", "a state")
    assert set(answer) == {"error", "error_description", "state", "iss"}


@pytest.mark.parametrize(("changes", "error"), [(c, e) for _, c, e in REFUSED], ids=[name for name, _, _ in REFUSED])
def test_answer_is_the_same_when_the_request_is_posted(flow: Flow, changes: dict[str, str | None], error: str) -> None:
    response = flow.browser.post("/oauth/authorize", data=flow.parameters(**changes))
    assert error_of(response)["error"] == error


@pytest.mark.parametrize("name", ["response_type", "scope", "state", "nonce", "code_challenge", "prompt", "unknown"])
@pytest.mark.parametrize("other", ["same", "different"])
@pytest.mark.spec("RFC 6749 §3.1")
def test_client_is_told_the_error_when_a_parameter_stands_twice(flow: Flow, name: str, other: str) -> None:
    wanted = {"prompt": "login", "unknown": "x", **flow.parameters()}
    query = urlencode([*wanted.items(), (name, wanted[name] if other == "same" else "other")])
    assert error_of(flow.browser.get(f"/oauth/authorize?{query}"))["error"] == "invalid_request"


def test_query_is_ignored_when_the_request_is_posted(flow: Flow) -> None:
    wanted = flow.parameters()
    state = wanted.pop("state")
    response = flow.browser.post(f"/oauth/authorize?state={state}", data={**wanted, "response_type": "token"})
    assert "state" not in error_of(response)


@pytest.mark.spec("RFC 6749 §3.1")
def test_unknown_parameters_are_ignored_when_there_are_fifty(flow: Flow) -> None:
    assert_accepted(flow.authorize(**{f"extra{index}": "value" for index in range(50)}))


def test_error_page_is_shown_when_there_are_more_than_a_hundred_parameters(flow: Flow) -> None:
    assert_shown(flow.authorize(**{f"extra{index}": "value" for index in range(100)}))


@pytest.mark.spec("RFC 6749 §3.1")
def test_parameter_counts_as_absent_when_it_is_empty(flow: Flow) -> None:
    assert_accepted(flow.authorize(response_mode="", prompt="", max_age="", id_token_hint="", request=""))


@pytest.mark.parametrize(
    "extra",
    [
        {"display": "page"},
        {"display": "popup"},
        {"ui_locales": "se"},
        {"claims_locales": "se de"},
        {"acr_values": "1 2"},
        {"acr_values": "urn:nobody:knows"},
        {"claims": '{"userinfo":{"name":{"essential":true}}}'},
        {"login_hint": "somebody@example.com"},
        {"resource": "https://api.example"},
        {"nonce": "x" * 4000},
        {"state": "x" * 4000},
        {"extra": "\0"},
        {"extra": "x" * 4001},
    ],
    ids=str,
)
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_request_is_accepted_when_it_has_parameters_that_ask_for_nothing_we_must_do(
    flow: Flow, extra: dict[str, str]
) -> None:
    assert_accepted(flow.authorize(**extra))


@pytest.mark.parametrize("body", [b'{"client_id":"sample-web"}', b"\xff"])
def test_error_page_is_shown_when_the_posted_body_is_no_form(flow: Flow, body: bytes) -> None:
    response = flow.browser.post("/oauth/authorize", data=body, content_type="application/json")
    assert_shown(response)


@pytest.mark.parametrize("query", ["client_id=%ff", "client_id=%ed%a0%80", "state=%c3%28"])
def test_error_page_is_shown_when_the_parameters_are_not_utf_8(flow: Flow, query: str) -> None:
    assert_shown(flow.browser.get(f"/oauth/authorize?{urlencode(flow.parameters())}&{query}"))


# What depends on the client's registration ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns", [{"grant_types": ["refresh_token"]}, {"response_types": []}], ids=["grant type", "response type"]
)
@pytest.mark.spec("RFC 7591 §2.1")
def test_client_is_told_unauthorized_when_it_was_not_registered_for_the_code_flow(
    flow: Flow, columns: dict[str, Any]
) -> None:
    flow.gatepost.change_client(flow.client.id, **columns)
    assert error_of(flow.authorize())["error"] == "unauthorized_client"


@pytest.mark.spec("RFC 6749 §3.3")
def test_scopes_are_left_out_when_the_client_or_the_deployment_does_not_have_them(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, scope="openid email")
    tokens = flow.tokens(scope="openid profile email unheard-of offline_access")
    assert tokens["scope"] == "openid email"
    assert "refresh_token" not in tokens


def test_scope_is_left_out_when_the_deployment_dropped_it_after_the_registration(
    make_gatepost: GatepostMaker,
) -> None:
    gatepost = make_gatepost(scopes={"notes:read": "Read your notes"})
    flow = flow_of(gatepost, scope="openid notes:read")
    assert flow.tokens(scope="openid notes:read")["scope"] == "openid notes:read"
    gatepost.change_client(flow.client.id, scope="openid notes:read notes:write")
    assert flow.tokens(scope="openid notes:read notes:write")["scope"] == "openid notes:read"


@pytest.mark.parametrize(
    ("registered", "asked", "given"),
    [
        ("notes:*", "notes:read", "notes:read"),
        ("notes:*", "notes:*", "notes:*"),
        ("notes:*", "notes:read notes:unheard-of users:read", "notes:read"),
        ("root", "notes:read root", "notes:read root"),
        ("root", "users:read notes:*", "notes:*"),
        ("users:*", "users:read roles:read", "users:read"),
        ("*", "notes:read email phone offline_access", "notes:read"),
        ("*", "unheard-of notes:read", "notes:read"),
        ("notes:read", "notes:* notes:read", "notes:read"),
    ],
)
@pytest.mark.spec("RFC 6749 §3.3", "AZ-27", "INV-07")
def test_scope_is_kept_when_a_registered_one_covers_or_implies_it(
    make_gatepost: GatepostMaker, registered: str, asked: str, given: str
) -> None:
    root = {"sentence": "Do everything", "implies": ["*"]}
    gatepost = make_gatepost(scopes={"notes:read": "Read your notes", "notes:write": "Change them", "root": root})
    flow = flow_of(gatepost)
    gatepost.change_client(flow.client.id, scope=f"openid {registered}")
    assert set(flow.tokens(scope=f"openid {asked}")["scope"].split()) == {"openid", *given.split()}


@pytest.mark.parametrize("client_type", ["spa", "native", "web"])
@pytest.mark.spec("RFC 7636 §4.4.1", "RFC 9700 §2.1.1")
def test_challenge_is_asked_for_already_here_when_the_client_must_use_pkce(
    gatepost: Gatepost, client_type: Any
) -> None:
    flow = flow_of(gatepost, client_type)
    answer = error_of(flow.authorize(code_challenge=None, code_challenge_method=None))
    assert answer["error"] == "invalid_request"
    assert "code_challenge" in answer["error_description"]


def test_challenge_may_be_left_out_when_an_old_confidential_client_cannot_do_pkce(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, require_pkce=False)
    assert_accepted(flow.authorize(code_challenge=None, code_challenge_method=None))
    assert error_of(flow.authorize(code_challenge_method="plain"))["error"] == "invalid_request"
    assert error_of(flow.authorize(code_challenge=None))["error"] == "invalid_request"


@pytest.mark.parametrize("port", [1, 80, 8080, 49152, 65535])
@pytest.mark.spec("RFC 8252 §7.3")
def test_any_port_is_accepted_when_a_native_client_listens_on_loopback(gatepost: Gatepost, port: int) -> None:
    flow = flow_of(gatepost, "native", redirect_uris=("http://127.0.0.1/cb", "http://[::1]/cb"))
    assert_accepted(flow.authorize(redirect_uri=f"http://127.0.0.1:{port}/cb"))
    assert_accepted(flow.authorize(redirect_uri=f"http://[::1]:{port}/cb"))


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:1/cb2",
        "http://localhost:1/cb",
        "https://127.0.0.1:1/cb",
        "http://127.0.0.2:1/cb",
        "http://[::1]:1/cb",
        "http://127.0.0.1:1@evil.example/cb",
        "http://127.0.0.1:1.evil.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1:1/cb?x",
    ],
)
@pytest.mark.spec("RFC 8252 §8.4")
def test_error_page_is_shown_when_a_native_client_differs_in_more_than_the_port(
    gatepost: Gatepost, redirect_uri: str
) -> None:
    flow = flow_of(gatepost, "native", redirect_uris=("http://127.0.0.1/cb",))
    assert_shown(flow.authorize(redirect_uri=redirect_uri), "redirect_uri")


def test_error_page_is_shown_when_a_client_that_is_not_native_uses_another_port(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, redirect_uris=("http://127.0.0.1:9000/cb",))
    assert_shown(flow.authorize(redirect_uri="http://127.0.0.1:9001/cb"))


# id_token_hint ----------------------------------------------------------------------------------------------------


@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_hint_is_refused_when_it_is_no_id_token_of_this_client(flow: Flow) -> None:
    own = flow.tokens()
    foreign = flow_of(flow.gatepost, client_id="foreign").tokens()
    for hint, words in (
        (own["access_token"], "not an ID token"),
        (foreign["id_token"], "another client"),
        (altered(own["id_token"], -9), "not an ID token"),
        ("e30.e30.", "not an ID token"),
    ):
        answer = error_of(flow.authorize(id_token_hint=hint))
        assert answer["error"] == "invalid_request"
        assert words in answer["error_description"]


def test_hint_is_accepted_when_the_id_token_has_expired(flow: Flow) -> None:
    hint = flow.tokens()["id_token"]
    flow.gatepost.clock.advance(flow.gatepost.settings.id_token_lifetime + 1)
    response = flow.authorize(id_token_hint=hint, prompt="none")
    assert "code" in answer_of(response.headers["Location"])


def test_proven_client_is_named_missing_when_the_table_did_not_run() -> None:
    context = checks.AuthorizationContext(work=None, parameters=None)  # type: ignore[arg-type]
    with pytest.raises(checks.InvalidRequest):
        checks.proven_client(context)


def _never_called(_: Any) -> None:
    raise AssertionError("a later check ran")


def test_later_checks_do_not_run_when_an_earlier_one_refused(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded: tuple[Callable[[Any], None], ...] = (*checks.CHECKS[:2], _never_called)
    monkeypatch.setattr(checks, "CHECKS", guarded)
    assert_shown(flow.authorize(redirect_uri="https://evil.example"))


def test_location_is_the_registered_uri_byte_by_byte_when_it_has_a_query(gatepost: Gatepost) -> None:
    registered = "https://app.example/cb?tenant=a%20b&flag&x=%2B"
    flow = flow_of(gatepost, redirect_uris=(registered,))
    location = flow.walk(flow.authorize()).headers["Location"]
    assert location.startswith(f"{registered}&code=")
    assert urlsplit(location).fragment == ""
