"""The whole walk, once, as every client does it."""

from joserfc import jwk, jwt

from tests.support.application import Gatepost
from tests.support.flow import flow_of


def test_person_signs_in_and_the_client_learns_who_when_everything_is_allowed(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost)
    tokens = flow.tokens()
    keys = jwk.KeySet.import_key_set(flow.browser.get("/.well-known/jwks.json").get_json())
    claims = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims
    answer = flow.browser.get("/oauth/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert answer.status_code == 200
    assert answer.get_json()["sub"] == claims["sub"]
    assert answer.get_json()["email"] == "ada@example.com"
    refreshed = flow.refresh(tokens["refresh_token"])
    assert refreshed.status_code == 200
    assert refreshed.get_json()["refresh_token"] != tokens["refresh_token"]
    assert gatepost.audit_events()[-5:] == [
        "login.succeeded",
        "consent.given",
        "authorization_code.issued",
        "token.issued",
        "refresh_token.rotated",
    ]
