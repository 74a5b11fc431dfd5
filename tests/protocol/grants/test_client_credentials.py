"""The client credentials grant: the client acts for itself, and nothing it gets speaks about a person."""

import pytest

from server.infra import jose
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, flow_of, jwt_claims

SCOPES = {"notes:read": "Read your notes", "notes:write": "Change your notes", "admin": "Everything"}


@pytest.fixture
def flow(make_gatepost: GatepostMaker) -> Flow:
    return flow_of(make_gatepost(scopes=SCOPES), "machine", scope="notes:read notes:write")


@pytest.mark.spec("RFC 6749 §4.4.3", "RFC 9068 §2.2")
def test_token_is_the_clients_own_when_it_asks_for_one(flow: Flow) -> None:
    response = flow.post_token(grant_type="client_credentials")
    assert response.status_code == 200
    tokens = response.get_json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope"}
    claims = jwt_claims(tokens["access_token"])
    assert claims["sub"] == claims["client_id"] == flow.client.id
    assert set(claims) == {"iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope"}
    assert jose.peek_header(tokens["access_token"])["typ"] == "at+jwt"
    row = flow.gatepost.audit_rows("token.issued")[-1]
    assert (row.client_id, row.user_id) == (flow.client.id, None)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (None, "notes:read notes:write"),
        ("", "notes:read notes:write"),
        ("notes:write", "notes:write"),
        ("notes:write notes:read", "notes:read notes:write"),
        (" notes:read  notes:read ", "notes:read"),
    ],
)
@pytest.mark.spec("RFC 6749 §3.3")
def test_scope_is_what_was_asked_or_all_when_nothing_was(flow: Flow, asked: str | None, given: str) -> None:
    tokens = flow.post_token(grant_type="client_credentials", scope=asked).get_json()
    assert tokens["scope"] == given
    assert jwt_claims(tokens["access_token"])["scope"] == given


@pytest.mark.parametrize(
    "scope", ["openid", "offline_access", "profile", "admin", "notes:read admin", '"', "é", "a\tb"]
)
@pytest.mark.spec("RFC 6749 §5.2")
def test_request_is_refused_when_it_asks_for_more_than_the_client_has(flow: Flow, scope: str) -> None:
    response = flow.post_token(grant_type="client_credentials", scope=scope)
    assert response.status_code == 400
    assert response.get_json()["error"] == "invalid_scope"
    assert "token.issued" not in flow.gatepost.audit_events()


def test_personal_scopes_are_not_given_when_the_client_has_them_for_people(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, grant_types=("authorization_code", "client_credentials"), scope="openid profile")
    tokens = flow.post_token(grant_type="client_credentials").get_json()
    assert "scope" not in tokens
    assert "scope" not in jwt_claims(tokens["access_token"])
    refused = flow.post_token(grant_type="client_credentials", scope="openid")
    assert refused.get_json()["error"] == "invalid_scope"


def test_public_client_is_refused_when_it_asks(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, "spa")
    gatepost.change_client(flow.client.id, grant_types=["client_credentials"])
    response = flow.post_token(grant_type="client_credentials")
    assert response.status_code == 401
    assert response.get_json()["error"] == "invalid_client"
    (failure,) = gatepost.audit_rows("client.authentication.failed")
    assert failure.client_id == flow.client.id


@pytest.mark.spec("RFC 6749 §5.2")
def test_client_is_unauthorized_when_it_was_not_registered_for_the_grant(gatepost: Gatepost) -> None:
    response = flow_of(gatepost).post_token(grant_type="client_credentials")
    assert response.status_code == 400
    assert response.get_json()["error"] == "unauthorized_client"


def test_audience_is_the_configured_one_when_it_is_set(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(access_token_audience="https://api.example")
    tokens = flow_of(gatepost, "machine").post_token(grant_type="client_credentials").get_json()
    assert jwt_claims(tokens["access_token"])["aud"] == "https://api.example"


@pytest.mark.parametrize(
    ("registered", "asked", "given"),
    [
        ("notes:*", "notes:read", "notes:read"),
        ("notes:*", "notes:*", "notes:*"),
        ("notes:*", None, "notes:*"),
        ("*:read *:write", "notes:read notes:write", "notes:read notes:write"),
        ("*", "admin", "admin"),
        ("root", "notes:read", "notes:read"),
        ("root", "root admin", "admin root"),
        ("users:*", "users:read", "users:read"),
        ("files:*", "files:pictures", "files:pictures"),
    ],
)
@pytest.mark.spec("RFC 6749 §3.3", "INV-07")
def test_scope_is_given_when_a_registered_one_covers_or_implies_it(
    make_gatepost: GatepostMaker, registered: str, asked: str | None, given: str
) -> None:
    flow = machine_with(make_gatepost, registered)
    tokens = flow.post_token(grant_type="client_credentials", scope=asked).get_json()
    assert tokens["scope"] == given
    assert jwt_claims(tokens["access_token"])["scope"] == given


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("notes:*", "notes:unheard-of"),
        ("files:*", 'files:"'),
        ("files:*", "files:a\tb"),
        ("files:*", "files:é"),
        ("notes:*", "notes:read admin"),
        ("notes:*", "*"),
        ("notes:read notes:write", "notes:*"),
        ("*", "openid"),
        ("*", "email"),
        ("*", "unheard-of"),
        ("root", "users:read"),
        ("root", "organizations:delete"),
        ("root", "*"),
        ("root", "email"),
    ],
)
@pytest.mark.spec("RFC 6749 §5.2", "INV-07")
def test_scope_is_refused_when_no_registered_one_covers_it_or_it_is_unknown(
    make_gatepost: GatepostMaker, registered: str, asked: str
) -> None:
    flow = machine_with(make_gatepost, registered)
    response = flow.post_token(grant_type="client_credentials", scope=asked)
    assert response.get_json()["error"] == "invalid_scope"
    assert "token.issued" not in flow.gatepost.audit_events()


def machine_with(make_gatepost: GatepostMaker, scope: str) -> Flow:
    root = {"sentence": "Do everything", "implies": ["*"]}
    return flow_of(make_gatepost(scopes={**SCOPES, "root": root, "files:*": "Read your files"}), "machine", scope=scope)
