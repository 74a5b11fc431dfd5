"""Revocation: what ends what, for whom, and that asking twice changes nothing."""

import pytest
from werkzeug.test import TestResponse

from tests.support.application import Gatepost
from tests.support.flow import Flow, basic, flow_of, jwt_claims


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",))


def revoke(flow: Flow, **form: str) -> TestResponse:
    headers = basic(flow.client.id, flow.secret) if flow.secret else {}
    data = form if flow.secret else {"client_id": flow.client.id, **form}
    return flow.gatepost.browser().post("/oauth/revoke", data=data, headers=headers)


def assert_empty(response: TestResponse) -> None:
    assert response.status_code == 200
    assert response.get_data() == b""
    assert "Content-Type" not in response.headers
    assert response.headers.getlist("Cache-Control") == ["no-store"]


def works(flow: Flow, access_token: str) -> bool:
    headers = {"Authorization": f"Bearer {access_token}"}
    return flow.browser.get("/oauth/userinfo", headers=headers).status_code == 200


@pytest.mark.spec("RFC 7009 §2.1", "RFC 7009 §2.2")
def test_access_token_alone_ends_when_it_is_revoked(flow: Flow) -> None:
    tokens = flow.tokens()
    other = flow.refresh(tokens["refresh_token"]).get_json()
    assert_empty(revoke(flow, token=tokens["access_token"]))
    assert not works(flow, tokens["access_token"])
    assert works(flow, other["access_token"])
    assert flow.refresh(other["refresh_token"]).status_code == 200
    (row,) = flow.gatepost.audit_rows("token.revoked")
    assert row.client_id == flow.client.id


@pytest.mark.spec("RFC 7009 §2.1")
def test_whole_grant_ends_when_its_refresh_token_is_revoked(flow: Flow) -> None:
    kept = flow.tokens()
    tokens = flow.tokens()
    newer = flow.refresh(tokens["refresh_token"]).get_json()
    assert_empty(revoke(flow, token=newer["refresh_token"]))
    assert not works(flow, tokens["access_token"])
    assert not works(flow, newer["access_token"])
    assert flow.refresh(newer["refresh_token"]).get_json()["error"] == "invalid_grant"
    assert works(flow, kept["access_token"])
    (row,) = flow.gatepost.audit_rows("grant.revoked")
    assert (row.client_id, row.details["reason"]) == (flow.client.id, "revoked_by_client")


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "id_token", "nonsense", "é\0"])
@pytest.mark.spec("RFC 7009 §2.1")
def test_token_ends_when_the_hint_is_wrong_or_unknown(flow: Flow, hint: str) -> None:
    tokens = flow.tokens()
    assert_empty(revoke(flow, token=tokens["access_token"], token_type_hint=hint))
    assert not works(flow, tokens["access_token"])
    assert_empty(revoke(flow, token=tokens["refresh_token"], token_type_hint=hint))
    assert flow.refresh(tokens["refresh_token"]).status_code == 400


@pytest.mark.parametrize("token", ["x", "\0", "é", "rt_" + "x" * 43, "a.b.c", "x" * 20000])
@pytest.mark.spec("RFC 7009 §2.2")
def test_answer_is_200_when_the_token_is_unknown(flow: Flow, token: str) -> None:
    assert_empty(revoke(flow, token=token))
    assert "token.revoked" not in flow.gatepost.audit_events()


@pytest.mark.spec("RFC 7009 §2.1")
def test_answer_is_200_and_nothing_ends_when_the_token_is_anothers(flow: Flow) -> None:
    tokens = flow.tokens()
    for stranger in (
        flow_of(flow.gatepost, client_id="stranger", may_introspect_any=True),
        flow_of(flow.gatepost, "spa", client_id="public"),
    ):
        for name in ("access_token", "refresh_token"):
            assert_empty(revoke(stranger, token=tokens[name]))
    assert works(flow, tokens["access_token"])
    assert flow.refresh(tokens["refresh_token"]).status_code == 200
    assert "grant.revoked" not in flow.gatepost.audit_events()


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_nothing_more_happens_when_the_same_token_is_revoked_twice(flow: Flow, kind: str) -> None:
    token = flow.tokens()[kind]
    assert_empty(revoke(flow, token=token))
    before = flow.gatepost.audit_events()
    assert_empty(revoke(flow, token=token))
    assert flow.gatepost.audit_events() == before


def test_family_ends_when_a_spent_refresh_token_is_revoked(flow: Flow) -> None:
    """Whoever signs out while a refresh is under way means the successor too."""
    first = flow.tokens()
    second = flow.refresh(first["refresh_token"]).get_json()
    assert_empty(revoke(flow, token=first["refresh_token"]))
    assert not works(flow, second["access_token"])
    assert flow.refresh(second["refresh_token"]).status_code == 400
    assert flow.gatepost.audit_rows("grant.revoked")[-1].details["reason"] == "revoked_by_client"


@pytest.mark.spec("RFC 7009 §2.1")
def test_public_client_revokes_its_own_tokens_when_it_names_itself(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, "spa", redirect_uris=("https://app.example/cb",))
    tokens = flow.tokens()
    assert_empty(revoke(flow, token=tokens["refresh_token"]))
    assert not works(flow, tokens["access_token"])


def test_machine_revokes_its_own_token_when_it_asks(gatepost: Gatepost) -> None:
    machine = flow_of(gatepost, "machine")
    token = machine.post_token(grant_type="client_credentials").get_json()["access_token"]
    assert_empty(revoke(machine, token=token))
    headers = basic(machine.client.id, machine.secret or "")
    answer = gatepost.browser().post("/oauth/introspect", data={"token": token}, headers=headers)
    assert answer.get_json() == {"active": False}


def test_id_token_is_no_token_to_revoke_when_presented(flow: Flow) -> None:
    tokens = flow.tokens()
    assert_empty(revoke(flow, token=tokens["id_token"]))
    assert works(flow, tokens["access_token"])


@pytest.mark.spec("RFC 7009 §2.2.1")
def test_request_is_refused_when_it_names_no_token_or_two(flow: Flow) -> None:
    headers = basic(flow.client.id, flow.secret or "")
    for data in ({}, {"token": ""}, {"token": ["x", "y"]}):
        response = flow.browser.post("/oauth/revoke", data=data, headers=headers)
        assert response.status_code == 400
        assert response.get_json()["error"] == "invalid_request"
        assert response.headers.getlist("Cache-Control") == ["no-store"]


def test_request_is_refused_when_the_token_stands_in_the_url(flow: Flow) -> None:
    token = flow.tokens()["access_token"]
    headers = basic(flow.client.id, flow.secret or "")
    response = flow.browser.post(f"/oauth/revoke?token={token}", headers=headers)
    assert response.status_code == 400
    assert works(flow, token)
    assert jwt_claims(token)["jti"] not in response.text
