"""Access tokens: JWTs per RFC 9068, and everything that ends one before its time."""

import base64
import json
from typing import Any

import pytest

from server.domain.access_tokens import revoke_access_token
from server.domain.client_registration import ClientMetadata, create_client
from server.domain.clients import delete_client, get_client
from server.domain.key_rotation import retire_key, rotate_key
from server.domain.signing_keys import StoredSigningKey, ensure_keys
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import delete_user, get_user
from server.infra import jose
from server.protocol.tokens.access_token import verify_access_token
from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, flow_of, jwt_claims


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",))


def accepted(flow: Flow, token: str) -> bool:
    """Whether userinfo and introspection take the token, which must be the same."""
    answer = flow.browser.get("/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})
    with flow.gatepost.work() as work:
        try:
            verify_access_token(work, token)
        except jose.InvalidToken:
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith(f'Bearer realm="{ISSUER}", error="invalid_token"')
            return False
    assert answer.status_code == 200
    return True


@pytest.mark.spec("RFC 9068 §2.1", "RFC 9068 §2.2")
def test_claims_are_those_of_rfc_9068_when_a_person_is_behind_the_token(flow: Flow) -> None:
    now = int(flow.gatepost.clock.now().timestamp())
    token = flow.tokens(scope="openid email")["access_token"]
    assert jose.peek_header(token)["typ"] == "at+jwt"
    claims = jwt_claims(token)
    row = flow.gatepost.audit_rows("token.issued")[-1]
    assert claims == {
        "iss": ISSUER,
        "sub": row.user_id,
        "aud": ISSUER,
        "client_id": flow.client.id,
        "iat": now,
        "exp": now + 3600,
        "jti": claims["jti"],
        "scope": "openid email",
        "grant_id": row.details["grant_id"],
        "auth_time": now,
        "acr": "1",
        "amr": ["pwd"],
    }
    assert len(claims["jti"]) == 22


def test_jti_is_new_when_another_token_is_issued(flow: Flow) -> None:
    tokens = flow.tokens()
    again = flow.refresh(tokens["refresh_token"]).get_json()
    assert jwt_claims(tokens["access_token"])["jti"] != jwt_claims(again["access_token"])["jti"]


def test_token_is_accepted_until_the_second_it_expires_when_nothing_ends_it(flow: Flow) -> None:
    token = flow.tokens()["access_token"]
    flow.gatepost.clock.advance(3599)
    assert accepted(flow, token)
    flow.gatepost.clock.advance(1)
    assert not accepted(flow, token)


def _disable_user(flow: Flow, work: UnitOfWork) -> None:
    get_user(work, flow.email).disabled_at = work.now


def _delete_user(flow: Flow, work: UnitOfWork) -> None:
    delete_user(work, get_user(work, flow.email))


def _disable_client(flow: Flow, work: UnitOfWork) -> None:
    get_client(work, flow.client.id).disabled_at = work.now


def _delete_client(flow: Flow, work: UnitOfWork) -> None:
    delete_client(work, get_client(work, flow.client.id))


ENDINGS = {
    "user disabled": _disable_user,
    "user deleted": _delete_user,
    "client disabled": _disable_client,
    "client deleted": _delete_client,
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_token_is_refused_at_once_when_somebody_behind_it_may_no_longer_act(flow: Flow, end: Any) -> None:
    token = flow.tokens()["access_token"]
    assert accepted(flow, token)
    with flow.gatepost.work() as work:
        end(flow, work)
    assert not accepted(flow, token)


def test_token_is_refused_when_it_was_revoked_by_itself(flow: Flow) -> None:
    token, other = flow.tokens()["access_token"], flow.tokens()["access_token"]
    with flow.gatepost.work() as work:
        for _ in range(2):
            revoke_access_token(work, jwt_claims(token)["jti"], flow.client.id, work.now)
    assert not accepted(flow, token)
    assert accepted(flow, other)
    assert flow.gatepost.audit_events().count("token.revoked") == 1


def test_token_of_an_earlier_client_is_refused_when_its_id_was_given_again(make_gatepost: GatepostMaker) -> None:
    flow = flow_of(make_gatepost(), "machine")
    token = flow.post_token(grant_type="client_credentials").get_json()["access_token"]
    flow.gatepost.clock.advance(10)
    with flow.gatepost.work() as work:
        delete_client(work, get_client(work, flow.client.id))
        create_client(work, ClientMetadata("Another", "machine", client_id=flow.client.id))
        with pytest.raises(jose.InvalidToken):
            verify_access_token(work, token)


# Rotation of the signing key --------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 7517 §5")
def test_token_verifies_after_rotation_and_not_after_its_key_was_retired(flow: Flow) -> None:
    token = flow.tokens()["access_token"]
    with flow.gatepost.work() as work:
        rotate_key(work, "RS256")
    assert accepted(flow, token)
    newer = flow.tokens()["access_token"]
    assert jose.peek_header(newer)["kid"] != jose.peek_header(token)["kid"]
    with flow.gatepost.work() as work:
        retire_key(work, jose.peek_header(token)["kid"])
    assert not accepted(flow, token)
    assert accepted(flow, newer)


# Forgeries --------------------------------------------------------------------------------------------------------


def encode(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def forgeries(token: str) -> dict[str, str]:
    header, claims, signature = token.split(".")
    known = jose.peek_header(token)
    grown = encode({**jwt_claims(token), "scope": "openid admin"})
    other = "A" if signature[10] != "A" else "B"
    return {
        "alg none": f"{encode({**known, 'alg': 'none'})}.{claims}.",
        "alg None": f"{encode({**known, 'alg': 'None'})}.{claims}.{signature}",
        "alg HS256": f"{encode({**known, 'alg': 'HS256'})}.{claims}.{signature}",
        "alg PS256": f"{encode({**known, 'alg': 'PS256'})}.{claims}.{signature}",
        "alg absent": f"{encode({k: v for k, v in known.items() if k != 'alg'})}.{claims}.{signature}",
        "alg a list": f"{encode({**known, 'alg': ['RS256']})}.{claims}.{signature}",
        "kid unknown": f"{encode({**known, 'kid': 'x'})}.{claims}.{signature}",
        "kid a path": f"{encode({**known, 'kid': '../../dev/null'})}.{claims}.{signature}",
        "kid a list": f"{encode({**known, 'kid': [known['kid']]})}.{claims}.{signature}",
        "kid absent": f"{encode({'alg': 'RS256', 'typ': 'at+jwt'})}.{claims}.{signature}",
        "own jwk": f"{encode({**known, 'jwk': {'kty': 'oct', 'k': 'AA'}})}.{claims}.{signature}",
        "jku": f"{encode({**known, 'jku': 'https://evil.example'})}.{claims}.{signature}",
        "crit": f"{encode({**known, 'crit': ['exp']})}.{claims}.{signature}",
        "typ JWT": f"{encode({**known, 'typ': 'JWT'})}.{claims}.{signature}",
        "claims changed": f"{header}.{grown}.{signature}",
        "signature changed": f"{header}.{claims}.{signature[:10]}{other}{signature[11:]}",
        "signature cut": f"{header}.{claims}.{signature[:-4]}",
        "signature empty": f"{header}.{claims}.",
        "no signature": f"{header}.{claims}",
        "padding": f"{token}=",
        "trailing bits": f"{token[:-1]}{chr(ord(token[-1]) + 1)}",
        "five parts": f"{token}.x.y",
        "space before": f" {token[:5]} {token[5:]}",
        "empty": "",
        "claims a list": f"{header}.{base64.urlsafe_b64encode(b'[]').decode()}.{signature}",
        "header a number": f"{base64.urlsafe_b64encode(b'1').decode().rstrip('=')}.{claims}.{signature}",
        "not base64": f"é.{claims}.{signature}",
        "deep": f"{base64.urlsafe_b64encode(b'[' * 9000).decode()}.{claims}.{signature}",
        "huge": f"{header}.{claims * 200}.{signature}",
    }


@pytest.mark.spec("RFC 7515 §5.2", "RFC 9068 §4", "RFC 7519 §7.2")
def test_token_is_refused_when_anything_in_it_was_changed(flow: Flow) -> None:
    token = flow.tokens()["access_token"]
    assert accepted(flow, token)
    for name, forged in forgeries(token).items():
        assert forged != token, name
        assert not accepted(flow, forged), name


@pytest.mark.spec("RFC 9068 §4")
def test_other_kinds_of_token_are_refused_when_presented_as_access_tokens(flow: Flow) -> None:
    code = flow.code()
    tokens = flow.tokens()
    for other in (code, tokens["id_token"], tokens["refresh_token"], flow.secret or ""):
        assert not accepted(flow, other)


def test_token_is_refused_when_another_issuer_had_the_same_keys(make_gatepost: GatepostMaker) -> None:
    ours, theirs = make_gatepost(), make_gatepost(issuer="http://localhost:9999")
    token = flow_of(theirs).tokens()["access_token"]
    flow = flow_of(ours)
    flow.tokens()
    assert not accepted(flow, token)


def test_token_ends_with_its_grant_when_that_is_sooner(make_gatepost: GatepostMaker) -> None:
    """INV-09: whoever verifies the JWT alone must not accept it longer than we do."""
    gatepost = make_gatepost(refresh_token_lifetime=1000)
    flow = flow_of(gatepost)
    tokens = flow.tokens()
    claims = jwt_claims(tokens["access_token"])
    assert claims["exp"] - claims["iat"] == tokens["expires_in"] == 1000
    gatepost.clock.advance(400)
    again = flow.refresh(tokens["refresh_token"]).get_json()
    assert again["expires_in"] == 600
    gatepost.clock.advance(599)
    assert accepted(flow, again["access_token"])
    gatepost.clock.advance(1)
    assert not accepted(flow, again["access_token"])


def test_fault_is_ours_when_there_is_no_key_to_sign_with(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost()
    flow = flow_of(gatepost)
    code = flow.code()
    with gatepost.work() as work:
        work.db.query(StoredSigningKey).delete()
    gatepost.runtime.parsed_keys.clear()
    response = flow.redeem(code)
    assert response.status_code == 500
    assert response.get_json()["error"] == "server_error"
    with gatepost.work() as work:
        ensure_keys(work)
    assert flow.redeem(code).status_code == 200
