"""The authorization code grant: every binding, sixty seconds, one use, and what a replay does."""

from typing import Any
from urllib.parse import urlencode

import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from werkzeug.test import TestResponse

from server.domain.users import delete_user, get_user
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import VERIFIER, Flow, basic, flow_of

REFUSED_CODE = {"error": "invalid_grant", "error_description": "The authorization code is not valid."}


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb", "https://app.example/other"))


def userinfo(flow: Flow, access_token: str) -> int:
    return flow.browser.get("/oauth/userinfo", headers={"Authorization": f"Bearer {access_token}"}).status_code


def assert_refused(response: TestResponse, error: str = "invalid_grant") -> None:
    assert response.status_code == 400
    assert response.get_json()["error"] == error
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.spec("RFC 6749 §4.1.4", "RFC 6749 §5.1", "OpenID Connect Core §3.1.3.3")
def test_tokens_are_issued_when_the_code_is_redeemed(flow: Flow) -> None:
    response = flow.redeem(flow.code())
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers.getlist("Cache-Control") == ["no-store"]
    tokens = response.get_json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope", "id_token", "refresh_token"}
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 3600
    assert tokens["scope"] == "openid email offline_access profile"
    assert tokens["refresh_token"].startswith("rt_")
    row = flow.gatepost.audit_rows("token.issued")[-1]
    assert row.client_id == flow.client.id
    assert row.user_id is not None


# Bindings, one fault at a time ------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[dict[str, str | None], str]] = {
    "redirect_uri missing": ({"redirect_uri": None}, "invalid_grant"),
    "redirect_uri of another request": ({"redirect_uri": "https://app.example/other"}, "invalid_grant"),
    "redirect_uri with a slash more": ({"redirect_uri": "https://app.example/cb/"}, "invalid_grant"),
    "redirect_uri foreign": ({"redirect_uri": "https://evil.example"}, "invalid_grant"),
    "verifier missing": ({"code_verifier": None}, "invalid_grant"),
    "verifier empty": ({"code_verifier": ""}, "invalid_grant"),
    "verifier of 42": ({"code_verifier": VERIFIER[:42]}, "invalid_grant"),
    "verifier of 129": ({"code_verifier": "a" * 129}, "invalid_grant"),
    "verifier wrong": ({"code_verifier": VERIFIER + "x"}, "invalid_grant"),
    "verifier in other case": ({"code_verifier": VERIFIER.upper()}, "invalid_grant"),
    "verifier with illegal characters": ({"code_verifier": VERIFIER + "="}, "invalid_grant"),
    "verifier not ASCII": ({"code_verifier": VERIFIER + "é"}, "invalid_grant"),
    "verifier with a line end": ({"code_verifier": VERIFIER + "\n"}, "invalid_grant"),
    "code missing": ({"code": None}, "invalid_request"),
    "code unknown": ({"code": "ac_" + "x" * 43}, "invalid_grant"),
    "code garbage": ({"code": "\0é"}, "invalid_grant"),
    "code is a refresh token": ({"code": "rt_" + "x" * 43}, "invalid_grant"),
    "grant_type missing": ({"grant_type": None}, "invalid_request"),
    "grant_type password": ({"grant_type": "password"}, "unsupported_grant_type"),
    "grant_type device": ({"grant_type": "urn:ietf:params:oauth:grant-type:device_code"}, "unsupported_grant_type"),
    "grant_type in other case": ({"grant_type": "Authorization_Code"}, "unsupported_grant_type"),
    "grant_type of another": ({"grant_type": "refresh_token"}, "invalid_request"),
}


@pytest.mark.parametrize(("changes", "error"), FAULTS.values(), ids=FAULTS)
@pytest.mark.spec("RFC 6749 §4.1.3", "RFC 6749 §5.2", "RFC 7636 §4.6")
def test_request_is_refused_and_the_code_not_spent_when_one_thing_is_wrong(
    flow: Flow, changes: dict[str, str | None], error: str
) -> None:
    code = flow.code()
    for _ in range(2):
        assert_refused(flow.redeem(**{"code": code, **changes}), error)  # type: ignore[arg-type]
    assert flow.redeem(code).status_code == 200, "the rightful client must still be able to redeem it"


@pytest.mark.spec("RFC 6749 §4.1.3")
def test_request_is_refused_and_the_code_not_spent_when_another_client_presents_it(flow: Flow) -> None:
    code = flow.code()
    for other in (
        flow_of(flow.gatepost, client_id="other", redirect_uris=("https://app.example/cb",)),
        flow_of(flow.gatepost, "spa", client_id="public", redirect_uris=("https://app.example/cb",)),
    ):
        assert other.redeem(code).get_json() == REFUSED_CODE
    assert flow.redeem(code).status_code == 200


@pytest.mark.spec("RFC 7636 §4.6", "RFC 9700 §4.8.2")
def test_verifier_is_refused_when_no_challenge_announced_it(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, require_pkce=False)
    code = flow.code(code_challenge=None, code_challenge_method=None)
    assert_refused(flow.redeem(code))
    assert flow.redeem(code, code_verifier=None).status_code == 200


@pytest.mark.parametrize("length", [43, 128])
@pytest.mark.spec("RFC 7636 §4.1")
def test_verifier_fits_when_it_is_as_short_or_as_long_as_may_be(flow: Flow, length: int) -> None:
    verifier = ("aZ9-._~" * 20)[:length]
    code = flow.code(code_challenge=create_s256_code_challenge(verifier))
    assert flow.redeem(code, code_verifier=verifier).status_code == 200


# Time -------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 6749 §4.1.2")
def test_code_lives_sixty_seconds_when_nothing_else_is_set(flow: Flow) -> None:
    code = flow.code()
    flow.gatepost.clock.advance(59)
    assert flow.redeem(code).status_code == 200
    code = flow.code()
    flow.gatepost.clock.advance(60)
    assert flow.redeem(code).get_json() == REFUSED_CODE


def test_code_lives_as_long_as_set_when_it_is_set(make_gatepost: GatepostMaker) -> None:
    flow = flow_of(make_gatepost(authorization_code_lifetime=5))
    code = flow.code()
    flow.gatepost.clock.advance(5)
    assert_refused(flow.redeem(code))


# Replay -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 30, 3600])
@pytest.mark.spec("RFC 6749 §4.1.2", "RFC 9700 §4.2.4")
def test_everything_the_code_gave_is_revoked_when_it_comes_back_fully_valid(flow: Flow, seconds: int) -> None:
    code = flow.code()
    tokens = flow.redeem(code).get_json()
    refreshed = flow.refresh(tokens["refresh_token"]).get_json()
    assert userinfo(flow, tokens["access_token"]) == 200
    flow.gatepost.clock.advance(seconds)
    assert flow.redeem(code).get_json() == REFUSED_CODE
    assert userinfo(flow, tokens["access_token"]) == 401
    assert userinfo(flow, refreshed["access_token"]) == 401
    assert_refused(flow.refresh(refreshed["refresh_token"]))
    (reuse,) = flow.gatepost.audit_rows("authorization_code.reused")
    assert reuse.client_id == flow.client.id
    assert flow.gatepost.audit_rows("grant.revoked")[-1].details["reason"] == "authorization_code_reused"
    # Once more changes nothing and is told the same.
    assert flow.redeem(code).get_json() == REFUSED_CODE
    assert len(flow.gatepost.audit_rows("grant.revoked")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://app.example/other"},
        {"redirect_uri": None},
        {"code_verifier": None},
        {"code_verifier": VERIFIER + "x"},
    ],
    ids=str,
)
def test_nothing_is_revoked_when_a_spent_code_comes_back_with_a_wrong_binding(
    flow: Flow, changes: dict[str, str | None]
) -> None:
    """A leaked code alone must not be a way to sign people out."""
    code = flow.code()
    tokens = flow.redeem(code).get_json()
    assert_refused(flow.redeem(code, **changes))
    assert userinfo(flow, tokens["access_token"]) == 200
    assert "grant.revoked" not in flow.gatepost.audit_events()


def test_nothing_is_revoked_when_another_client_or_nobody_replays_a_spent_code(flow: Flow) -> None:
    code = flow.code()
    tokens = flow.redeem(code).get_json()
    other = flow_of(flow.gatepost, client_id="other", redirect_uris=("https://app.example/cb",))
    assert_refused(other.redeem(code))
    form = {"grant_type": "authorization_code", "code": code, "client_id": flow.client.id, "code_verifier": VERIFIER}
    assert flow.browser.post("/oauth/token", data=form).status_code == 401
    assert userinfo(flow, tokens["access_token"]) == 200
    assert "authorization_code.reused" not in flow.gatepost.audit_events()


def test_other_grants_of_the_person_live_on_when_one_code_is_replayed(flow: Flow) -> None:
    kept = flow.tokens()
    code = flow.code()
    flow.redeem(code)
    flow.redeem(code)
    assert userinfo(flow, kept["access_token"]) == 200
    assert flow.refresh(kept["refresh_token"]).status_code == 200


# Who may no longer act --------------------------------------------------------------------------------------------


def test_code_is_refused_when_the_person_was_disabled_meanwhile(flow: Flow) -> None:
    code = flow.code()
    flow.gatepost.change_user(flow.email, disabled_at=flow.gatepost.clock.now())
    assert flow.redeem(code).get_json() == REFUSED_CODE
    flow.gatepost.change_user(flow.email, disabled_at=None)
    assert flow.redeem(code).status_code == 200


def test_code_is_refused_when_the_person_was_deleted_meanwhile(flow: Flow) -> None:
    code = flow.code()
    with flow.gatepost.work() as work:
        delete_user(work, get_user(work, flow.email))
    assert flow.redeem(code).get_json() == REFUSED_CODE


def test_code_is_refused_when_the_client_may_not_use_the_grant_any_more(flow: Flow) -> None:
    code = flow.code()
    flow.gatepost.change_client(flow.client.id, grant_types=["refresh_token"])
    assert_refused(flow.redeem(code), "unauthorized_client")


# The request itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grant_type", "code", "client_id", "client_secret", "scope", "anything"])
@pytest.mark.spec("RFC 6749 §2.3.1")
def test_request_is_refused_when_parameters_stand_in_the_url(flow: Flow, name: str) -> None:
    code = flow.code()
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    form["redirect_uri"] = "https://app.example/cb"
    headers = basic(flow.client.id, flow.secret or "")
    response = flow.browser.post(f"/oauth/token?{name}=x", data=form, headers=headers)
    assert_refused(response, "invalid_request")
    del form["code"]
    assert_refused(flow.browser.post(f"/oauth/token?code={code}", data=form, headers=headers), "invalid_request")
    assert flow.redeem(code).status_code == 200


@pytest.mark.parametrize("other", ["same", "different"])
@pytest.mark.parametrize("name", ["grant_type", "code", "redirect_uri", "code_verifier", "client_id", "anything"])
@pytest.mark.spec("RFC 6749 §3.2")
def test_request_is_refused_when_a_parameter_stands_twice(flow: Flow, name: str, other: str) -> None:
    code = flow.code()
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": "https://app.example/cb",
        "code_verifier": VERIFIER,
        "client_id": flow.client.id,
        "anything": "x",
    }
    body = urlencode([*form.items(), (name, form[name] if other == "same" else "other")])
    response = flow.browser.post(
        "/oauth/token",
        data=body,
        content_type="application/x-www-form-urlencoded",
        headers=basic(flow.client.id, flow.secret or ""),
    )
    assert_refused(response, "invalid_request")
    assert flow.redeem(code, anything="x").status_code == 200


@pytest.mark.parametrize(
    "request_body",
    [
        {"json": {"grant_type": "authorization_code"}},
        {"data": b"grant_type=x", "content_type": "text/plain"},
        {"data": b"grant_type=x"},
        {"data": b"--x\r\n\r\n--x--", "content_type": "multipart/form-data; boundary=x"},
        {"data": b"grant_type=%ff", "content_type": "application/x-www-form-urlencoded"},
        {"data": b"grant_type=\xff", "content_type": "application/x-www-form-urlencoded"},
        {"data": b"&".join(b"a=b" for _ in range(101)), "content_type": "application/x-www-form-urlencoded"},
        {},
    ],
    ids=["json", "text", "no type", "multipart", "bad percent", "bad bytes", "101 parameters", "empty"],
)
@pytest.mark.spec("RFC 6749 §3.2")
def test_request_is_refused_when_the_body_is_no_form(flow: Flow, request_body: dict[str, Any]) -> None:
    response = flow.browser.post("/oauth/token", **request_body)
    assert_refused(response, "invalid_request")


@pytest.mark.spec("RFC 6749 §3.2")
def test_form_is_read_when_its_type_names_a_charset(flow: Flow) -> None:
    form = {"grant_type": "authorization_code", "code": flow.code(), "code_verifier": VERIFIER}
    response = flow.browser.post(
        "/oauth/token",
        data=urlencode({**form, "redirect_uri": "https://app.example/cb"}),
        content_type="application/x-www-form-urlencoded; charset=UTF-8",
        headers=basic(flow.client.id, flow.secret or ""),
    )
    assert response.status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
@pytest.mark.spec("RFC 6749 §3.2")
def test_method_is_refused_when_it_is_not_post(flow: Flow, method: str) -> None:
    response = flow.browser.open("/oauth/token", method=method)
    assert response.status_code == 405
    assert response.headers["Allow"] == "OPTIONS, POST"
    if method != "HEAD":
        assert response.get_json()["error"] == "invalid_request"


@pytest.mark.spec("OpenID Connect Core §11")
def test_refresh_token_is_given_for_offline_access_or_when_the_registration_says_always(gatepost: Gatepost) -> None:
    plain = flow_of(gatepost)
    assert "refresh_token" in plain.tokens(scope="openid offline_access")
    assert "refresh_token" not in plain.tokens(scope="openid")
    always = flow_of(gatepost, client_id="always", refresh_token_policy="always")
    assert "refresh_token" in always.tokens(scope="openid")
    gatepost.change_client("always", grant_types=["authorization_code"])
    assert "refresh_token" not in always.tokens(scope="openid offline_access")


def test_no_id_token_is_given_when_openid_was_not_asked(flow: Flow) -> None:
    tokens = flow.tokens(scope="profile")
    assert "id_token" not in tokens
    assert tokens["scope"] == "profile"


def test_code_is_long_and_random_when_many_are_issued(flow: Flow) -> None:
    codes = {flow.code() for _ in range(20)}
    assert len(codes) == 20
    assert {len(code) for code in codes} == {46}
    with flow.gatepost.work() as work:
        stored = work.db.connection().exec_driver_sql("SELECT * FROM authorization_codes").fetchall()
    assert not any(code in str(row) for code in codes for row in stored)
