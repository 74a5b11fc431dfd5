"""ID tokens: every claim, for every algorithm, and none that a person's data could replace."""

import base64
import hashlib
from typing import Any

import pytest
from joserfc import jwk, jws, jwt

from server.domain.claims import CLAIMS_OF_SCOPE, DEMO_CLAIMS
from server.domain.users import get_user
from server.infra import jose
from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, flow_of, jwt_claims

PROTOCOL_CLAIMS = {"iss", "sub", "aud", "iat", "exp", "auth_time", "acr", "amr", "sid", "at_hash"}


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",))


def user_id(flow: Flow) -> str:
    with flow.gatepost.work() as work:
        return get_user(work, flow.email).id


def verified(flow: Flow, token: str) -> dict[str, Any]:
    """The claims, after a verification by the published keys alone."""
    document = flow.browser.get("/.well-known/jwks.json").get_json()
    key = next(key for key in document["keys"] if key["kid"] == jose.peek_header(token)["kid"])
    registry = jws.JWSRegistry(algorithms=[key["alg"]])
    return jwt.decode(token, jwk.import_key(key), registry=registry).claims


@pytest.mark.spec("OpenID Connect Core §2", "OpenID Connect Core §3.1.3.6")
def test_claims_tell_who_signed_in_when_and_how_when_a_code_is_redeemed(flow: Flow) -> None:
    before = int(flow.gatepost.clock.now().timestamp())
    code = flow.code(scope="openid")
    flow.gatepost.clock.advance(7)
    tokens = flow.redeem(code).get_json()
    claims = verified(flow, tokens["id_token"])
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    assert claims == {
        "iss": ISSUER,
        "sub": user_id(flow),
        "aud": flow.client.id,
        "iat": before + 7,
        "exp": before + 7 + 3600,
        "auth_time": before,
        "acr": "1",
        "amr": ["pwd"],
        "sid": claims["sid"],
        "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
        "nonce": "a-nonce",
    }
    assert len(claims["sid"]) == 22


@pytest.mark.spec("OpenID Connect Core §3.1.3.6")
def test_nonce_is_absent_when_none_was_sent(flow: Flow) -> None:
    assert "nonce" not in jwt_claims(flow.tokens(nonce=None)["id_token"])


@pytest.mark.parametrize("nonce", ["x", "n" * 2000, 'é"\\ ', "-_~."])
@pytest.mark.spec("OpenID Connect Core §2")
def test_nonce_comes_back_character_by_character_when_one_was_sent(flow: Flow, nonce: str) -> None:
    assert jwt_claims(flow.tokens(nonce=nonce)["id_token"])["nonce"] == nonce


@pytest.mark.spec("OpenID Connect Core §12.2")
def test_auth_time_stays_and_iat_moves_when_the_token_is_refreshed(flow: Flow) -> None:
    tokens = flow.tokens()
    flow.gatepost.clock.advance(1000)
    again = flow.refresh(tokens["refresh_token"]).get_json()["id_token"]
    old, new = jwt_claims(tokens["id_token"]), jwt_claims(again)
    assert new["auth_time"] == old["auth_time"]
    assert new["iat"] == old["iat"] + 1000
    assert new["exp"] == old["exp"] + 1000
    assert new["sid"] == old["sid"]


@pytest.mark.parametrize(("algorithm", "half_bytes"), [("RS256", 16), ("ES256", 16), ("EdDSA", 32)])
@pytest.mark.spec("OpenID Connect Core §3.1.3.6", "RFC 7515 §4.1.4")
def test_token_verifies_with_the_published_keys_when_the_client_chose_the_algorithm(
    gatepost: Gatepost, algorithm: str, half_bytes: int
) -> None:
    flow = flow_of(gatepost, id_token_signed_response_alg=algorithm, access_token_signed_response_alg=algorithm)
    tokens = flow.tokens()
    for name, typ in (("id_token", "JWT"), ("access_token", "at+jwt")):
        header = jose.peek_header(tokens[name])
        assert set(header) == {"alg", "kid", "typ"}
        assert header["alg"] == algorithm
        assert header["typ"] == typ
        assert verified(flow, tokens[name])["iss"] == ISSUER
    at_hash = jwt_claims(tokens["id_token"])["at_hash"]
    assert len(base64.urlsafe_b64decode(at_hash + "=" * (-len(at_hash) % 4))) == half_bytes
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert flow.browser.get("/oauth/userinfo", headers=headers).status_code == 200
    assert "code" in flow.walk(flow.authorize(id_token_hint=tokens["id_token"])).headers["Location"]


# Claims about the person ------------------------------------------------------------------------------------------


def test_granted_profile_and_email_stand_in_the_token_when_the_client_is_registered_full(flow: Flow) -> None:
    flow.gatepost.change_user(flow.email, claims=DEMO_CLAIMS)
    claims = jwt_claims(flow.tokens(scope="openid profile email address phone")["id_token"])
    wanted = set(CLAIMS_OF_SCOPE["profile"]) | set(CLAIMS_OF_SCOPE["email"])
    assert set(claims) == PROTOCOL_CLAIMS | wanted | {"nonce"}
    assert claims["email"] == flow.email
    assert claims["email_verified"] is True
    assert claims["name"] == "Ada Example"


def test_only_what_was_granted_stands_in_the_token_when_the_client_is_registered_full(flow: Flow) -> None:
    claims = jwt_claims(flow.tokens(scope="openid email")["id_token"])
    assert set(claims) == PROTOCOL_CLAIMS | {"nonce", "email", "email_verified"}


@pytest.mark.spec("OpenID Connect Core §5.4")
def test_no_claim_about_the_person_stands_in_the_token_when_the_client_is_registered_lean(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, id_token_claims="lean")
    claims = jwt_claims(flow.tokens()["id_token"])
    assert set(claims) == PROTOCOL_CLAIMS | {"nonce"}


def test_protocol_claims_win_when_the_persons_data_has_their_names(flow: Flow) -> None:
    hostile = dict.fromkeys((*PROTOCOL_CLAIMS, "nonce", "azp", "nbf", "jti", "email", "email_verified"), "hostile")
    flow.gatepost.change_user(flow.email, claims=hostile)
    tokens = flow.tokens()
    assert "hostile" not in str(jwt_claims(tokens["id_token"]).values())
    assert "hostile" not in str(jwt_claims(tokens["access_token"]).values())
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert "hostile" not in flow.browser.get("/oauth/userinfo", headers=headers).text


def test_protocol_claims_win_when_a_profile_claim_would_replace_them(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if somebody adds `sub` to a scope's claims one day."""
    names = (*CLAIMS_OF_SCOPE["profile"], "sub", "aud", "exp")
    monkeypatch.setitem(CLAIMS_OF_SCOPE, "profile", names)
    flow.gatepost.change_user(flow.email, claims={"sub": "hostile", "aud": "hostile", "exp": 1})
    tokens = flow.tokens()
    claims = jwt_claims(tokens["id_token"])
    assert (claims["sub"], claims["aud"]) == (user_id(flow), flow.client.id)
    assert claims["exp"] > claims["iat"]
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert flow.browser.get("/oauth/userinfo", headers=headers).get_json()["sub"] == user_id(flow)


def test_claim_is_absent_when_nothing_is_known(flow: Flow) -> None:
    flow.gatepost.change_user(flow.email, name=None, claims={"nickname": "", "website": None})
    claims = jwt_claims(flow.tokens()["id_token"])
    assert "name" not in claims
    assert "nickname" not in claims
    assert "website" not in claims


def test_lifetime_is_the_configured_one_when_it_is_set(make_gatepost: GatepostMaker) -> None:
    flow = flow_of(make_gatepost(id_token_lifetime=60, access_token_lifetime=120))
    tokens = flow.tokens()
    assert tokens["expires_in"] == 120
    for name, seconds in (("id_token", 60), ("access_token", 120)):
        claims = jwt_claims(tokens[name])
        assert claims["exp"] - claims["iat"] == seconds
