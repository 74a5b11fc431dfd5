"""Introspection: the whole truth for those entitled to it, and the same three words for everything else."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, basic, flow_of, jwt_claims

INACTIVE = b'{"active":false}\n'


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",))


def ask(flow: Flow, token: str, **form: str) -> TestResponse:
    response = flow.gatepost.browser().post(
        "/oauth/introspect", data={"token": token, **form}, headers=basic(flow.client.id, flow.secret or "")
    )
    assert response.headers.getlist("Cache-Control") == ["no-store"]
    assert response.headers.getlist("Content-Type") == ["application/json"]
    return response


def is_active(flow: Flow, token: str) -> bool:
    response = ask(flow, token)
    assert response.status_code == 200
    if response.get_json()["active"]:
        return True
    assert response.get_data() == INACTIVE
    return False


@pytest.mark.spec("RFC 7662 §2.2")
def test_access_token_is_described_when_its_own_client_asks(flow: Flow) -> None:
    token = flow.tokens()["access_token"]
    claims = jwt_claims(token)
    names = ("iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti", "auth_time", "acr", "amr")
    assert ask(flow, token).get_json() == {
        "active": True,
        "token_type": "Bearer",
        "username": "ada@example.com",
        **{name: claims[name] for name in names},
    }
    assert claims["iss"] == ISSUER


def test_address_is_not_told_when_the_email_scope_was_not_granted(flow: Flow) -> None:
    assert "username" not in ask(flow, flow.tokens(scope="openid")["access_token"]).get_json()


def test_clients_own_token_is_described_when_it_asks(make_gatepost: GatepostMaker) -> None:
    machine = flow_of(make_gatepost(scopes={"notes:read": "Read"}), "machine", scope="notes:read")
    token = machine.post_token(grant_type="client_credentials").get_json()["access_token"]
    answer = ask(machine, token).get_json()
    assert answer["active"] is True
    assert answer["sub"] == answer["client_id"] == machine.client.id
    assert set(answer) == {"active", "token_type", "iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti"}


def test_refresh_token_is_described_when_its_own_client_asks(flow: Flow) -> None:
    tokens = flow.tokens()
    now = int(flow.gatepost.clock.now().timestamp())
    assert ask(flow, tokens["refresh_token"]).get_json() == {
        "active": True,
        "token_type": "refresh_token",
        "client_id": flow.client.id,
        "sub": jwt_claims(tokens["id_token"])["sub"],
        "scope": "openid email offline_access profile",
        "iat": now,
        "exp": now + flow.gatepost.settings.refresh_token_idle_lifetime,
    }


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "id_token", "nonsense", "", "é\0"])
@pytest.mark.spec("RFC 7662 §2.1")
def test_hint_is_ignored_when_it_is_wrong_or_unknown(flow: Flow, hint: str) -> None:
    tokens = flow.tokens()
    for name in ("access_token", "refresh_token"):
        assert ask(flow, tokens[name], token_type_hint=hint).get_json()["active"] is True


# Who may know -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 7662 §2.2", "RFC 7662 §4")
def test_foreign_token_is_told_inactive_unless_the_client_is_a_resource_server(flow: Flow) -> None:
    tokens = flow.tokens()
    stranger = flow_of(flow.gatepost, client_id="stranger")
    resource_server = flow_of(flow.gatepost, "machine", client_id="api", may_introspect_any=True)
    for name in ("access_token", "refresh_token"):
        assert ask(stranger, tokens[name]).get_data() == INACTIVE
        assert ask(resource_server, tokens[name]).get_json()["active"] is True


def test_public_client_is_refused_when_it_asks(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, "spa")
    token = flow.tokens()["access_token"]
    response = gatepost.browser().post("/oauth/introspect", data={"token": token, "client_id": flow.client.id})
    assert response.status_code == 401
    assert response.get_json()["error"] == "invalid_client"
    assert gatepost.audit_events()[-1] == "client.authentication.failed"


def test_token_is_no_credential_when_it_asks_about_itself(flow: Flow) -> None:
    token = flow.tokens()["access_token"]
    response = flow.browser.post(
        "/oauth/introspect", data={"token": token}, headers={"Authorization": f"Bearer {token}"}
    )
    assert response.status_code == 401


# Inactive, whatever the reason ------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["x", "\0", "é", "a.b.c", "e30.e30.", "rt_" + "x" * 43, "x" * 20000])
def test_token_is_inactive_when_it_is_none_of_ours(flow: Flow, token: str) -> None:
    assert not is_active(flow, token)


@pytest.mark.spec("RFC 7662 §4")
def test_other_artefacts_are_inactive_when_asked_about(flow: Flow) -> None:
    code = flow.code()
    tokens = flow.tokens()
    cookie = flow.browser.get_cookie("gatepost")
    assert cookie is not None
    for other in (code, tokens["id_token"], flow.secret or "", cookie.value, tokens["access_token"] + "x"):
        assert not is_active(flow, other)


def test_tokens_are_inactive_from_the_second_they_expire(flow: Flow) -> None:
    tokens = flow.tokens()
    flow.gatepost.clock.advance(3599)
    assert is_active(flow, tokens["access_token"])
    flow.gatepost.clock.advance(1)
    assert not is_active(flow, tokens["access_token"])
    assert is_active(flow, tokens["refresh_token"])
    flow.gatepost.clock.advance(flow.gatepost.settings.refresh_token_idle_lifetime - 3600)
    assert not is_active(flow, tokens["refresh_token"])


def test_refresh_token_is_inactive_when_it_was_spent(flow: Flow) -> None:
    first = flow.tokens()
    second = flow.refresh(first["refresh_token"]).get_json()
    assert not is_active(flow, first["refresh_token"])
    assert is_active(flow, second["refresh_token"])


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_token_is_inactive_when_it_was_revoked(flow: Flow, kind: str) -> None:
    tokens = flow.tokens()
    flow.browser.post("/oauth/revoke", data={"token": tokens[kind]}, headers=basic(flow.client.id, flow.secret or ""))
    assert not is_active(flow, tokens[kind])


@pytest.mark.parametrize("entity", ["user", "client"])
def test_tokens_are_inactive_when_the_person_or_the_client_is_disabled(flow: Flow, entity: str) -> None:
    tokens = flow.tokens()
    api = flow_of(flow.gatepost, "machine", client_id="api", may_introspect_any=True)
    change: Any = flow.gatepost.change_user if entity == "user" else flow.gatepost.change_client
    change(flow.email if entity == "user" else flow.client.id, disabled_at=flow.gatepost.clock.now())
    for name in ("access_token", "refresh_token"):
        assert not is_active(api, tokens[name])


@pytest.mark.spec("RFC 7662 §2.1")
def test_request_is_refused_when_it_names_no_token(flow: Flow) -> None:
    for token in ("",):
        response = ask(flow, token)
        assert response.status_code == 400
        assert response.get_json()["error"] == "invalid_request"


def test_request_is_refused_when_it_names_two_tokens(flow: Flow) -> None:
    headers = basic(flow.client.id, flow.secret or "")
    response = flow.browser.post("/oauth/introspect", data={"token": ["x", "y"]}, headers=headers)
    assert response.status_code == 400
    assert response.get_json()["error"] == "invalid_request"
