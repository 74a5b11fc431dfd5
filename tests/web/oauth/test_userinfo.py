"""UserInfo: where the token may stand, who is refused and how, and which claims each scope opens."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from server.domain.claims import CLAIMS_OF_SCOPE, DEMO_CLAIMS
from server.domain.grants import revoke_grant
from tests.domain.factories import find_grant
from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, flow_of, jwt_claims

REALM = f'Bearer realm="{ISSUER}"'


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",))


def ask(flow: Flow, token: str, **request: Any) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"}
    return flow.gatepost.browser().get("/oauth/userinfo", headers=headers, **request)


def assert_challenged(response: TestResponse, status: int, error: str | None) -> None:
    """RFC 6750 §3: one challenge, with the code except when no token was sent at all."""
    assert response.status_code == status
    (challenge,) = response.headers.getlist("WWW-Authenticate")
    if error is None:
        assert challenge == REALM
        assert "error" not in response.get_json()
    else:
        assert challenge.startswith(f'{REALM}, error="{error}", error_description="')
        assert response.get_json()["error"] == error
    assert response.headers.getlist("Cache-Control") == ["no-store"]


@pytest.mark.spec("OpenID Connect Core §5.3.1", "RFC 6750 §2.1", "RFC 6750 §2.2")
def test_claims_are_the_same_when_the_token_stands_in_header_or_body(flow: Flow) -> None:
    tokens = flow.tokens(scope="openid email")
    token, browser = tokens["access_token"], flow.gatepost.browser()
    header = {"Authorization": f"Bearer {token}"}
    answers = [
        browser.get("/oauth/userinfo", headers=header),
        browser.post("/oauth/userinfo", headers=header),
        browser.post("/oauth/userinfo", data={"access_token": token}),
        browser.get("/oauth/userinfo", headers={"Authorization": f"bearer {token}"}),
        browser.get("/oauth/userinfo", headers={"Authorization": f"BEARER  {token} "}),
        browser.post("/oauth/userinfo", headers=header, data={"other": "x"}),
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.get_json() == {
            "sub": jwt_claims(tokens["id_token"])["sub"],
            "email": "ada@example.com",
            "email_verified": True,
        }


# Where a token may not stand --------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 9700 §4.3.2", "RFC 6750 §2.3")
def test_request_is_refused_when_the_token_stands_in_the_url(flow: Flow) -> None:
    token = flow.tokens()["access_token"]
    browser = flow.gatepost.browser()
    assert_challenged(browser.get(f"/oauth/userinfo?access_token={token}"), 400, "invalid_request")
    assert_challenged(browser.post(f"/oauth/userinfo?access_token={token}"), 400, "invalid_request")
    assert_challenged(ask(flow, token, query_string={"access_token": token}), 400, "invalid_request")


@pytest.mark.spec("RFC 6750 §2", "RFC 6750 §3.1")
def test_request_is_refused_when_there_are_two_tokens(flow: Flow) -> None:
    token = flow.tokens()["access_token"]
    response = flow.browser.post(
        "/oauth/userinfo", data={"access_token": token}, headers={"Authorization": f"Bearer {token}"}
    )
    assert_challenged(response, 400, "invalid_request")


def test_request_is_refused_when_the_body_has_two_tokens(flow: Flow) -> None:
    token = flow.tokens()["access_token"]
    response = flow.browser.post("/oauth/userinfo", data={"access_token": [token, token]})
    assert response.status_code == 400
    assert response.get_json()["error"] == "invalid_request"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Basic Og=="}, {"Authorization": "DPoP x"}, {"Authorization": ""}, {"Authorization": "x"}],
    ids=str,
)
@pytest.mark.spec("RFC 6750 §3.1")
def test_challenge_has_no_code_when_no_bearer_token_was_sent(flow: Flow, headers: dict[str, str]) -> None:
    assert_challenged(flow.browser.get("/oauth/userinfo", headers=headers), 401, None)
    assert_challenged(flow.browser.post("/oauth/userinfo", headers=headers), 401, None)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "rt_x", "x" * 20000, 'x", error="none'])
@pytest.mark.spec("RFC 6750 §3.1")
def test_token_is_invalid_when_it_is_none_of_ours(flow: Flow, token: str) -> None:
    assert_challenged(ask(flow, token), 401, "invalid_token")


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b'{"access_token":"x"}', "application/json"), (b"access_token=%ff", "application/x-www-form-urlencoded")],
)
def test_request_is_refused_when_the_body_is_no_form(flow: Flow, body: bytes, kind: str) -> None:
    response = flow.browser.post("/oauth/userinfo", data=body, content_type=kind)
    assert response.status_code == 400
    assert response.get_json()["error"] == "invalid_request"


# Whose token is not enough ----------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 6750 §3.1")
def test_scope_is_insufficient_when_openid_was_not_granted(flow: Flow) -> None:
    assert_challenged(ask(flow, flow.tokens(scope="profile")["access_token"]), 403, "insufficient_scope")
    narrowed = flow.refresh(flow.tokens()["refresh_token"], scope="email").get_json()
    assert_challenged(ask(flow, narrowed["access_token"]), 403, "insufficient_scope")


def test_scope_is_insufficient_when_the_token_is_a_clients_own(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(scopes={"notes:read": "Read your notes"})
    for scope in ("", "notes:read"):
        machine = flow_of(gatepost, "machine", client_id=f"machine{len(scope)}", scope=scope)
        token = machine.post_token(grant_type="client_credentials").get_json()["access_token"]
        assert_challenged(ask(machine, token), 403, "insufficient_scope")


def test_token_is_invalid_when_its_grant_was_revoked(flow: Flow) -> None:
    token = flow.tokens()["access_token"]
    assert ask(flow, token).status_code == 200
    with flow.gatepost.work() as work:
        grant = find_grant(work, jwt_claims(token)["grant_id"])
        assert grant is not None
        revoke_grant(work, grant, "tested")
    assert_challenged(ask(flow, token), 401, "invalid_token")


@pytest.mark.parametrize("entity", ["user", "client"])
def test_token_is_invalid_when_user_or_client_is_disabled_and_valid_again_when_enabled(flow: Flow, entity: str) -> None:
    token = flow.tokens()["access_token"]
    change: Any = flow.gatepost.change_user if entity == "user" else flow.gatepost.change_client
    name = flow.email if entity == "user" else flow.client.id
    change(name, disabled_at=flow.gatepost.clock.now())
    assert_challenged(ask(flow, token), 401, "invalid_token")
    change(name, disabled_at=None)
    assert ask(flow, token).status_code == 200


def test_token_is_invalid_from_the_second_it_expires_when_asked_then(flow: Flow) -> None:
    token = flow.tokens()["access_token"]
    flow.gatepost.clock.advance(3599)
    assert ask(flow, token).status_code == 200
    flow.gatepost.clock.advance(1)
    assert_challenged(ask(flow, token), 401, "invalid_token")


# What each scope opens --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["profile", "email", "address", "phone"])
@pytest.mark.spec("OpenID Connect Core §5.4")
def test_all_claims_of_the_scope_and_no_others_are_told_when_it_was_granted(flow: Flow, scope: str) -> None:
    flow.gatepost.change_user(flow.email, claims=DEMO_CLAIMS)
    claims = ask(flow, flow.tokens(scope=f"openid {scope}")["access_token"]).get_json()
    assert set(claims) == {"sub", *CLAIMS_OF_SCOPE[scope]}


@pytest.mark.spec("OpenID Connect Core §5.1", "OpenID Connect Core §5.3.2")
def test_claims_have_the_right_types_when_all_are_told(flow: Flow) -> None:
    flow.gatepost.change_user(flow.email, claims=DEMO_CLAIMS)
    claims = ask(flow, flow.tokens(scope="openid profile email address phone")["access_token"]).get_json()
    assert len(claims) == 1 + sum(map(len, CLAIMS_OF_SCOPE.values()))
    kinds = {"email_verified": bool, "phone_number_verified": bool, "address": dict, "updated_at": int}
    for name, value in claims.items():
        assert type(value) is kinds.get(name, str), name
        assert value != ""


def test_only_the_sub_is_told_when_only_openid_was_granted(flow: Flow) -> None:
    tokens = flow.tokens(scope="openid")
    assert ask(flow, tokens["access_token"]).get_json() == {"sub": jwt_claims(tokens["id_token"])["sub"]}


def test_claims_are_those_of_today_when_they_changed_since_the_token(flow: Flow) -> None:
    token = flow.tokens()["access_token"]
    flow.gatepost.change_user(flow.email, name="Ada Otherwise", email_verified=False)
    claims = ask(flow, token).get_json()
    assert (claims["name"], claims["email_verified"]) == ("Ada Otherwise", False)
