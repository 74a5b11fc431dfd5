"""The `claims` parameter (OpenID Connect Core §5.5): claims one by one, at userinfo or in the ID token."""

from __future__ import annotations

import json
from typing import Any

import pytest

from server.domain.claims import DEMO_CLAIMS
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import form_fields
from tests.support.relying_party import RelyingParty, answer_in, relying_party

MARK = "zq9hostile"
#: Everything that a code flow's ID token holds without being asked.
PROTOCOL = {"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "sid", "jti"}
PROTOCOL |= {"at_hash", "c_hash", "s_hash"}


@pytest.fixture
def provider(make_gatepost: GatepostMaker) -> Gatepost:
    gatepost = make_gatepost(registration="open", acr_ladder={"1": ("pwd",), "2": ("pwd", "otp")})
    gatepost.change_user("ada@example.com", claims=DEMO_CLAIMS)
    return gatepost


@pytest.fixture
def client(provider: Gatepost) -> RelyingParty:
    return relying_party(provider)


def asking(**places: Any) -> str:
    return json.dumps(places)


def told(client: RelyingParty, scope: str = "openid", **changes: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the ID token and userinfo tell after one sign-in."""
    tokens = client.tokens(scope=scope, **changes)
    response = client.userinfo(tokens["access_token"])
    assert response.status_code == 200
    return client.read(tokens["id_token"]).claims, response.get_json()


# What is told where -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [None, {"essential": True}, {"essential": False}, {}, {"value": "+1"}, {"odd": [1]}])
@pytest.mark.spec("OpenID Connect Core §5.5", "OpenID Connect Core §5.5.1")
def test_claim_is_told_at_userinfo_and_nowhere_else_when_it_is_asked_for_there(
    client: RelyingParty, wanted: object
) -> None:
    id_token, userinfo = told(client, claims=asking(userinfo={"phone_number": wanted}))
    assert userinfo["phone_number"] == DEMO_CLAIMS["phone_number"]
    assert set(userinfo) == {"sub", "phone_number"}
    assert set(id_token) <= PROTOCOL


@pytest.mark.spec("OpenID Connect Core §5.5")
def test_claim_stands_in_the_id_token_and_nowhere_else_when_it_is_asked_for_there(client: RelyingParty) -> None:
    id_token, userinfo = told(client, claims=asking(id_token={"email": None, "address": {"essential": True}}))
    assert id_token["email"] == client.email
    assert id_token["address"] == DEMO_CLAIMS["address"]
    assert set(id_token) - PROTOCOL == {"email", "address"}
    assert set(userinfo) == {"sub"}


@pytest.mark.spec("OpenID Connect Core §5.4", "OpenID Connect Core §5.5")
def test_claims_are_added_to_those_of_the_scopes_when_both_are_asked_for(client: RelyingParty) -> None:
    claims = asking(userinfo={"birthdate": None}, id_token={"given_name": None})
    id_token, userinfo = told(client, "openid email", claims=claims)
    assert set(userinfo) == {"sub", "email", "email_verified", "birthdate"}
    assert id_token["given_name"] == DEMO_CLAIMS["given_name"]
    assert "email" not in id_token


@pytest.mark.parametrize("response_type", ["id_token", "id_token token", "code id_token", "code id_token token"])
@pytest.mark.spec("OpenID Connect Core §5.5")
def test_claim_stands_in_the_first_id_token_too_when_it_comes_from_the_authorization_endpoint(
    client: RelyingParty, response_type: str
) -> None:
    answer = client.answer(response_type=response_type, scope="openid", claims=asking(id_token={"email": None}))
    assert client.read(answer["id_token"]).claims["email"] == client.email


@pytest.mark.spec("OpenID Connect Core §5.5", "RFC 6749 §6")
def test_claims_are_told_still_when_the_tokens_were_refreshed(client: RelyingParty) -> None:
    claims = asking(userinfo={"phone_number": None}, id_token={"email": None})
    tokens = client.tokens(scope="openid offline_access", prompt="consent", claims=claims)
    refreshed = client.refresh(tokens["refresh_token"]).get_json()
    assert "phone_number" in client.userinfo(refreshed["access_token"]).get_json()
    if "id_token" in refreshed:
        assert set(client.read(refreshed["id_token"]).claims) - PROTOCOL <= {"email"}


@pytest.mark.spec("OpenID Connect Core §5.5.2")
def test_claim_is_absent_and_not_null_when_it_is_not_known(client: RelyingParty) -> None:
    client.gatepost.change_user(client.email, claims={})
    id_token, userinfo = told(
        client, claims=asking(userinfo={"phone_number": {"essential": True}}, id_token={"website": None})
    )
    assert set(userinfo) == {"sub"}
    assert "website" not in id_token


@pytest.mark.parametrize(
    "claims",
    [
        {"userinfo": {"http://example.info/claims/groups": None, "is_admin": {"essential": True}}},
        {"userinfo": {"name#ja-Kana-JP": None}, "id_token": {"password": None, "claims": None, "id": None}},
        {"verified_claims": {"email": None}, "other": 5},
        {},
        {"userinfo": None, "id_token": None},
        {"userinfo": {}, "id_token": {}},
    ],
)
@pytest.mark.spec("OpenID Connect Core §5.5", "L-05")
def test_claims_that_nobody_knows_are_ignored_when_they_are_asked_for(
    client: RelyingParty, claims: dict[str, Any]
) -> None:
    id_token, userinfo = told(client, claims=json.dumps(claims))
    assert set(id_token) <= PROTOCOL
    assert set(userinfo) == {"sub"}


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "iat", "nonce", "sid", "at_hash", "amr"])
@pytest.mark.spec("OpenID Connect Core §5.5", "INV-30")
def test_protocol_claims_keep_their_values_when_others_are_asked_for(client: RelyingParty, name: str) -> None:
    plain, _ = told(client)
    asked, _ = told(client, claims=asking(id_token={name: {"value": MARK, "essential": True}}))
    assert asked[name] != MARK
    if name in {"iss", "aud", "nonce", "amr", "sid"}:
        assert asked[name] == plain[name]


# Never more than was allowed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["userinfo", "id_token"])
@pytest.mark.spec("AZ-27", "INV-07", "INV-26")
def test_person_is_asked_again_when_more_claims_are_asked_for_than_were_allowed(
    client: RelyingParty, place: str
) -> None:
    client.tokens(scope="openid")
    assert "code" in answer_in(client.authorize(scope="openid", prompt="none")), "remembered"
    claims = asking(**{place: {"phone_number": None}})
    refused = answer_in(client.authorize(scope="openid", prompt="none", claims=claims))
    assert refused["error"] == "consent_required"
    assert "code" in client.answer(scope="openid", claims=claims)


@pytest.mark.spec("AZ-24", "INV-26")
def test_consent_page_tells_of_the_claims_when_they_are_asked_for_one_by_one(client: RelyingParty) -> None:
    def page(**changes: str | None) -> str:
        return client.open_page("/consent", client.authorize(prompt="consent", scope="openid", **changes)).text

    assert page(claims=asking(userinfo={"phone_number": None})) != page()
    assert "phone" in page(claims=asking(userinfo={"phone_number": None})).lower()


@pytest.mark.parametrize("place", ["userinfo", "id_token"])
@pytest.mark.spec("AZ-27", "INV-07", "TK-24")
def test_claim_is_not_told_when_the_client_may_not_have_its_scope(provider: Gatepost, place: str) -> None:
    client = relying_party(provider, scope="openid email")
    claims = asking(**{place: {"phone_number": {"essential": True}, "email": None}})
    id_token, userinfo = told(client, claims=claims)
    assert "phone_number" not in {**id_token, **userinfo}
    assert "email" in (userinfo if place == "userinfo" else id_token)


@pytest.mark.spec("INV-25", "AZ-25")
def test_claims_cannot_be_added_when_the_request_is_parked(client: RelyingParty) -> None:
    page = client.open_page("/consent", client.authorize(scope="openid"))
    more = {"claims": asking(userinfo={"phone_number": None}), "scope": "openid phone"}
    response = client.browser.post("/consent", data={**form_fields(page.text), "decision": "allow", **more})
    tokens = client.redeem(answer_in(client.walk(response))["code"]).get_json()
    assert set(client.userinfo(tokens["access_token"]).get_json()) == {"sub"}


# sub, acr, auth_time ----------------------------------------------------------------------------------------------


@pytest.mark.spec("OpenID Connect Core §5.5.1", "AZ-22")
def test_only_that_person_is_answered_for_when_a_value_of_sub_is_asked_for(client: RelyingParty) -> None:
    id_token, _ = told(client)
    own = asking(id_token={"sub": {"value": id_token["sub"]}})
    assert "code" in answer_in(client.authorize(prompt="none", claims=own, scope="openid"))
    other = asking(id_token={"sub": {"value": "usr_somebody-else"}})
    assert answer_in(client.authorize(prompt="none", claims=other, scope="openid"))["error"] == "login_required"
    assert "error" in answer_in(client.walk(client.authorize(claims=other, scope="openid")))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"value": "1"}, "1"),
        ({"values": ["2", "1"]}, "1"),
        ({"value": "2"}, "1"),
        ({"essential": True, "values": ["1", "2"]}, "1"),
        ({"essential": True, "value": "1"}, "1"),
        ({"essential": True}, "1"),
        (None, "1"),
    ],
)
@pytest.mark.spec("OpenID Connect Core §5.5.1.1", "INV-12")
def test_acr_tells_what_happened_when_it_can_or_need_not_be_reached(
    client: RelyingParty, wanted: object, expected: str
) -> None:
    id_token, _ = told(client, claims=asking(id_token={"acr": wanted}))
    assert id_token["acr"] == expected


@pytest.mark.parametrize("wanted", [{"value": "2"}, {"values": ["2"]}, {"values": ["gold", "2"]}, {"value": "gold"}])
@pytest.mark.spec("OpenID Connect Core §5.5.1.1", "INV-12")
def test_error_is_sent_when_an_essential_acr_cannot_be_reached(client: RelyingParty, wanted: dict[str, Any]) -> None:
    claims = asking(id_token={"acr": {"essential": True, **wanted}})
    answer = client.answer(scope="openid", claims=claims)
    assert answer["error"] in {"unmet_authentication_requirements", "access_denied", "login_required"}
    assert "code" not in answer


@pytest.mark.spec("OpenID Connect Core §2", "INV-12")
def test_auth_time_is_told_when_it_is_asked_for(client: RelyingParty) -> None:
    id_token, _ = told(client, claims=asking(id_token={"auth_time": {"essential": True}}))
    assert id_token["auth_time"] == client.seconds()


# What is no such parameter ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        "",
        "{",
        "[]",
        "null",
        "5",
        '"userinfo"',
        '{"userinfo":[]}',
        '{"userinfo":"name"}',
        '{"id_token":5}',
        '{"userinfo":{"name":5}}',
        '{"userinfo":{"name":"x"}}',
        '{"userinfo":{"name":[true]}}',
        '{"id_token":{"acr":{"essential":"yes"}}}',
        '{"id_token":{"acr":{"values":"1"}}}',
        '{"id_token":{"acr":{"values":[1,{}]}}}',
        '{"id_token":{"sub":{"value":{"$ne":1}}}}',
        '{"id_token":{"sub":{"value":null}}}',
        '{"userinfo":{"name":null},"userinfo":{}}',
        '{"userinfo":{"name":NaN}}',
        '{"a":' * 5000,
        "[" * 100_000,
        '{"userinfo":{"x":' + "9" * 5000 + "}}",
        '{"userinfo":{' + ",".join(f'"{MARK}{number}":null' for number in range(3000)) + "}}",
        '{"userinfo":{"\\u0000' + MARK + '":null}}',
        '{"userinfo":{"\\ud800' + MARK + '":null}}',
        f"{MARK}é\x00",
    ],
    ids=range(26),
)
@pytest.mark.spec("OpenID Connect Core §5.5", "INV-41", "TK-17")
def test_request_is_refused_or_goes_on_and_nothing_breaks_when_the_parameter_is_malformed(
    client: RelyingParty, claims: str
) -> None:
    query = client.parameters(scope="openid", claims=claims)
    response = client.browser.post("/oauth/authorize", data=query)
    assert response.status_code in {303, 400, 413}, response.status_code
    assert MARK not in response.text
    assert MARK not in response.headers.get("Location", "")
    if not response.headers.get("Location", "/").startswith("/"):
        assert answer_in(response)["error"] == "invalid_request"


@pytest.mark.parametrize("claims", ["{", "[]", "5", '{"userinfo":[]}', '{"id_token":"x"}'])
@pytest.mark.spec("OpenID Connect Core §5.5")
def test_error_is_sent_when_the_parameter_is_no_object_of_objects(client: RelyingParty, claims: str) -> None:
    answer = answer_in(client.authorize(claims=claims))
    assert (answer["error"], answer["state"]) == ("invalid_request", "a state")
