"""The session alias: the deployment's own client trades its refresh token at its own path, and nobody else does."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, basic, flow_of, jwt_claims

WEB_APP = "web-app"


@pytest.fixture
def gatepost(make_gatepost: GatepostMaker) -> Gatepost:
    return make_gatepost(session_alias_path="/auth", session_alias_client=WEB_APP, access_token_lifetime=86400)


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, "spa", client_id=WEB_APP, is_first_party=True, access_token_claims="rich")


def trade(gatepost: Gatepost, *, headers: dict[str, str] | None = None, **body: Any) -> TestResponse:
    response = gatepost.browser().post("/auth", headers=headers, **body)
    assert response.headers["Cache-Control"] == "no-store"
    return response


@pytest.mark.parametrize("name", ["refresh_token", "refreshToken"])
@pytest.mark.parametrize("kind", ["json", "data"])
@pytest.mark.spec("RFC 6749 §6")
def test_tokens_are_given_when_the_refresh_token_comes_in_a_form_or_as_json(
    gatepost: Gatepost, flow: Flow, kind: str, name: str
) -> None:
    before = flow.tokens()
    response = trade(gatepost, **{kind: {name: before["refresh_token"]}})
    body = response.get_json()
    assert response.status_code == 200, response.text
    assert {"access_token", "token_type", "expires_in", "scope", "id_token", "refresh_token"} == set(body)
    assert body["expires_in"] == 86400
    assert body["refresh_token"] != before["refresh_token"]
    claims = jwt_claims(body["access_token"])
    assert (claims["client_id"], claims["email"], claims["name"]) == (WEB_APP, "ada@example.com", "Ada Example")


@pytest.mark.spec("RFC 9700 §4.14.2", "TK-09")
def test_family_ends_when_a_spent_token_comes_again_later(gatepost: Gatepost, flow: Flow) -> None:
    spent = flow.tokens()["refresh_token"]
    successor = trade(gatepost, json={"refreshToken": spent}).get_json()["refresh_token"]
    gatepost.clock.advance(gatepost.settings.refresh_replay_window + 1)
    assert trade(gatepost, json={"refreshToken": spent}).get_json()["error"] == "invalid_grant"
    assert trade(gatepost, json={"refreshToken": successor}).get_json()["error"] == "invalid_grant"
    assert gatepost.audit_events().count("refresh_token.reused") == 1


@pytest.mark.spec("TK-10")
def test_token_of_another_client_is_refused(gatepost: Gatepost, flow: Flow) -> None:
    assert flow.client.id == WEB_APP
    other = flow_of(gatepost, client_id="another", redirect_uris=("https://other.example/cb",))
    response = trade(gatepost, json={"refreshToken": other.tokens()["refresh_token"]})
    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_grant")


def test_headers_count_for_nothing(gatepost: Gatepost, flow: Flow) -> None:
    """Front ends send their old access token along; and whoever sends a secret proves nothing here."""
    for headers in ({"Authorization": "Bearer x"}, basic("another", "x")):
        token = flow.tokens(prompt="login")["refresh_token"]
        assert trade(gatepost, json={"refreshToken": token}, headers=headers).status_code == 200


BROKEN: dict[str, dict[str, Any]] = {
    "there is nothing": {},
    "there is an empty form": {"data": {}},
    "there is an empty object": {"json": {}},
    "the token is empty": {"json": {"refreshToken": ""}},
    "the token is a number": {"json": {"refreshToken": 7}},
    "the token is null": {"json": {"refreshToken": None}},
    "there are two": {"json": {"refreshToken": "rt_a", "refresh_token": "rt_b"}},
    "there are two in the form": {"data": {"refresh_token": ["rt_a", "rt_b"]}},
    "it is a list": {"json": ["rt_a"]},
    "it is no JSON": {"data": b"{", "content_type": "application/json"},
    "a member stands twice": {
        "data": b'{"refreshToken": "rt_a", "refreshToken": "rt_b"}',
        "content_type": "application/json",
    },
    "it is no UTF-8": {"data": b'{"refreshToken": "\xff"}', "content_type": "application/json"},
    "it is neither form nor JSON": {"data": b"rt_a", "content_type": "text/plain"},
    "it stands in the URL": {"query_string": {"refresh_token": "rt_a"}},
}


@pytest.mark.parametrize("why", BROKEN)
def test_request_is_malformed_when(gatepost: Gatepost, flow: Flow, why: str) -> None:
    assert flow.client.id == WEB_APP
    response = trade(gatepost, **BROKEN[why])
    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_request")


def test_client_with_a_secret_has_to_show_it_elsewhere(gatepost: Gatepost) -> None:
    web = flow_of(gatepost, client_id=WEB_APP, redirect_uris=("https://app.example/cb",))
    response = trade(gatepost, json={"refreshToken": web.tokens()["refresh_token"]})
    assert (response.status_code, response.get_json()["error"]) == (401, "invalid_client")


def test_path_is_nothing_when_nobody_configured_it(make_gatepost: GatepostMaker) -> None:
    assert make_gatepost().browser().post("/auth", json={"refreshToken": "rt_x"}).status_code == 404


def test_front_end_of_another_origin_may_read_the_answer(gatepost: Gatepost, flow: Flow) -> None:
    response = trade(gatepost, json={"refreshToken": flow.tokens()["refresh_token"]}, headers={"Origin": "https://x"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert gatepost.browser().options("/auth", headers={"Origin": "https://x"}).status_code == 200
