"""Token exchange: a key for a token that does no more, reaches no further and lives no longer than the key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from server.domain import signing_keys
from server.domain.api_key_issuing import OPERATOR_MAKER, Maker, rotate_api_key
from server.domain.api_keys import ApiKey, revoke_api_key
from server.domain.memberships import add_member, change_role, find_membership, suspend_membership
from server.domain.organizations import suspend_organization
from server.domain.roles import rights_of_member
from server.domain.users import get_user
from server.infra import jose
from server.protocol.grants.token_exchange import ACCESS_TOKEN_TYPE, API_KEY_TYPE
from tests.support.altered import altered
from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import basic, flow_of, jwt_claims
from tests.support.makers import AUDIENCE, SCOPES, Makers

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
REFUSED = {"error": "invalid_request", "error_description": "The subject_token is not valid."}
LIFETIME = 900


@pytest.fixture
def makers(make_gatepost: GatepostMaker) -> Makers:
    return Makers(make_gatepost(scopes=SCOPES, access_token_audience=AUDIENCE))


def exchange(
    makers: Makers, key: str | None, headers: dict[str, str] | None = None, /, **changes: str | list[str] | None
) -> TestResponse:
    form = {"grant_type": EXCHANGE, "subject_token": key, "subject_token_type": API_KEY_TYPE, **changes}
    present = {name: value for name, value in form.items() if value is not None}
    response = makers.gatepost.browser().post("/oauth/token", data=present, headers=headers)
    assert response.headers["Cache-Control"] == "no-store"
    return response


def token_of(makers: Makers, key: str, **changes: str) -> str:
    response = exchange(makers, key, **changes)
    assert response.status_code == 200, response.text
    return str(response.get_json()["access_token"])


def published(gatepost: Gatepost) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = gatepost.browser().get("/.well-known/jwks.json").get_json()["keys"]
    return keys


def members_key(makers: Makers, role: str, *permissions: str) -> tuple[ApiKey, str]:
    """A key of a member of this role, with as much as that allows."""
    acme = makers.gateway.acme
    with makers.gatepost.work() as work:
        ada = get_user(work, "ada@example.com")
        membership = find_membership(work, acme.id, ada.id)
        membership = membership or add_member(work, work.db.merge(acme), ada, role)
        maker = Maker(rights_of_member(work, membership), ada)
    return makers.gateway.key(*permissions, maker=maker)


# What is given ----------------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 8693 §2.1", "RFC 8693 §2.2.1", "RFC 9068 §2.2", "K-18")
def test_token_verifies_offline_and_says_whose_it_is_when_a_key_is_exchanged(makers: Makers) -> None:
    key, text = makers.gateway.key("users:read", "notes:read")
    response = exchange(makers, text)
    body = response.get_json()
    assert response.status_code == 200
    assert {name: body[name] for name in body if name != "access_token"} == {
        "issued_token_type": ACCESS_TOKEN_TYPE,
        "token_type": "Bearer",
        "expires_in": LIFETIME,
        "scope": "notes:read users:read",
    }
    decoded = jose.verify(body["access_token"], published(makers.gatepost))
    now = int(makers.gatepost.clock.now().timestamp())
    assert (decoded.header["alg"], decoded.header["typ"]) == ("RS256", "at+jwt")
    assert {name: value for name, value in decoded.claims.items() if name != "jti"} == {
        "iss": ISSUER,
        "sub": key.id,
        "aud": AUDIENCE,
        "client_id": key.id,
        "scope": "notes:read users:read",
        "iat": now,
        "exp": now + LIFETIME,
        "organization_id": makers.gateway.acme.id,
        "environment": "live",
        "api_key": key.id,
    }


@pytest.mark.spec("K-18")
def test_exchange_is_audited_without_the_key(makers: Makers) -> None:
    key, text = makers.gateway.key("users:read")
    token = token_of(makers, text)
    (row,) = makers.gatepost.audit_rows("api_key.exchanged")
    assert (row.actor_kind, row.actor_id, row.organization_id) == ("api_key", key.id, makers.gateway.acme.id)
    assert (row.details["key_id"], row.details["scopes"]) == (key.id, ["users:read"])
    assert text not in str(row.details)
    assert jwt_claims(token)["jti"] not in str(row.details)


@pytest.mark.parametrize("asked", [None, ACCESS_TOKEN_TYPE, JWT_TYPE])
@pytest.mark.spec("RFC 8693 §2.1", "RFC 8693 §3")
def test_token_is_of_the_type_that_was_asked_for_when_it_is_one_of_ours(makers: Makers, asked: str | None) -> None:
    _, text = makers.gateway.key()
    answer = exchange(makers, text, requested_token_type=asked).get_json()
    assert answer["issued_token_type"] == (asked or ACCESS_TOKEN_TYPE)


@pytest.mark.parametrize("scope", ["users:read", "notes:read users:delete", "users:*"])
@pytest.mark.spec("RFC 8693 §2.1", "K-18")
def test_token_has_what_was_asked_for_when_the_key_may_do_more(makers: Makers, scope: str) -> None:
    _, text = makers.gateway.key("*")
    token = token_of(makers, text, scope=scope)
    assert jwt_claims(token)["scope"].split() == sorted(scope.split())
    assert not makers.verify(token).rights.allows("users:write") or scope == "users:*"


def test_token_says_all_that_its_key_may_do_when_that_comes_with_the_makers_role(makers: Makers) -> None:
    _, text = members_key(makers, "admin", *SCOPES)
    verified = makers.verify(token_of(makers, text))
    assert verified.rights.allows_all(SCOPES)
    assert verified.key is not None
    assert not verified.rights.excess(verified.scope_set)


@pytest.mark.spec("RFC 8693 §2.1", "RFC 8707 §2")
def test_audience_may_be_named_when_it_is_the_one_there_is(makers: Makers) -> None:
    _, text = makers.gateway.key()
    for target in ({"audience": AUDIENCE}, {"resource": AUDIENCE}, {"audience": [AUDIENCE, AUDIENCE]}):
        assert exchange(makers, text, **target).status_code == 200


@pytest.mark.spec("K-10", "K-18", "INV-31")
def test_token_of_a_test_key_is_for_the_test_world_alone(makers: Makers) -> None:
    _, text = makers.gateway.key(environment="test")
    claims = jwt_claims(token_of(makers, text))
    assert (claims["aud"], claims["environment"]) == (f"{AUDIENCE}/test", "test")
    refused = exchange(makers, text, audience=AUDIENCE)
    assert (refused.status_code, refused.get_json()["error"]) == (400, "invalid_target")


# Never more than the key ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["users:write", "users:read users:write", "*", "users:*", "openid", "clients:write"])
@pytest.mark.spec("K-18", "K-11", "RFC 8693 §2.2.2", "TK-30")
def test_scope_is_refused_when_the_key_may_not_do_so_much(makers: Makers, scope: str) -> None:
    _, text = makers.gateway.key("users:read")
    response = exchange(makers, text, scope=scope)
    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_scope")
    assert "access_token" not in response.get_json()
    assert makers.gatepost.audit_rows("api_key.exchanged") == []


def test_no_scope_about_a_person_is_given_when_the_key_may_do_everything(makers: Makers) -> None:
    _, text = makers.gateway.key("*")
    assert exchange(makers, text, scope="openid").get_json()["error"] == "invalid_scope"
    assert not {"openid", "email"} & set(jwt_claims(token_of(makers, text))["scope"].split())


@pytest.mark.parametrize("name", ["audience", "resource"])
@pytest.mark.spec("K-18", "RFC 8693 §2.2.2")
def test_target_is_refused_when_the_key_is_not_for_it(makers: Makers, name: str) -> None:
    _, text = makers.gateway.key()
    for target in ("https://other.example", f"{AUDIENCE}/", f"{AUDIENCE}/test", [AUDIENCE, "https://other.example"]):
        response = exchange(makers, text, **{name: target})
        assert (response.status_code, response.get_json()["error"]) == (400, "invalid_target"), target


@pytest.mark.parametrize("rest", [1, 60, LIFETIME - 1, LIFETIME, LIFETIME + 1])
@pytest.mark.spec("K-18")
def test_token_ends_with_its_key_at_the_latest(makers: Makers, rest: int) -> None:
    ends = makers.gatepost.clock.now() + timedelta(seconds=rest)
    _, text = makers.gateway.key(expires_at=ends)
    body = exchange(makers, text).get_json()
    assert body["expires_in"] == min(rest, LIFETIME)
    assert jwt_claims(body["access_token"])["exp"] <= ends.timestamp()


def test_token_lives_as_long_as_the_deployment_says(make_gatepost: GatepostMaker) -> None:
    makers = Makers(make_gatepost(scopes=SCOPES, access_token_audience=AUDIENCE, api_key_token_lifetime=60))
    _, text = makers.gateway.key(never_expires=True)
    assert exchange(makers, text).get_json()["expires_in"] == 60


@pytest.mark.spec("K-15", "K-18")
def test_exchange_counts_among_the_requests_of_the_key(makers: Makers) -> None:
    _, text = makers.gateway.key(rate_limit_per_minute=3)
    assert makers.gateway.ask(text).status_code == 200
    assert [exchange(makers, text).status_code for _ in range(3)] == [200, 200, 429]
    refused = exchange(makers, text)
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert "access_token" not in refused.text
    assert makers.gateway.ask(text).status_code == 429
    assert len(makers.gatepost.audit_rows("api_key.exchanged")) == 2
    makers.gatepost.clock.advance(61)
    assert exchange(makers, text).status_code == 200


# Alive while the key is -------------------------------------------------------------------------------------------


@pytest.mark.spec("K-12", "K-18")
def test_token_is_dead_at_once_when_its_key_is_revoked(makers: Makers) -> None:
    key, text = makers.gateway.key()
    token = token_of(makers, text)
    assert makers.is_accepted(token)
    assert makers.introspect(token).get_json()["active"] is True
    with makers.gatepost.work() as work:
        revoke_api_key(work, work.db.merge(key), "leaked")
    assert not makers.is_accepted(token)
    assert makers.introspect(token).get_json() == {"active": False}
    assert exchange(makers, text).get_json() == REFUSED


@pytest.mark.spec("K-06", "K-18")
def test_token_of_the_old_key_ends_with_it_when_keys_overlap(makers: Makers) -> None:
    key, text = makers.gateway.key()
    token = token_of(makers, text)
    with makers.gatepost.work() as work:
        _, successor = rotate_api_key(work, work.db.merge(key), 60, OPERATOR_MAKER)
    last = token_of(makers, text)
    assert jwt_claims(last)["exp"] - jwt_claims(last)["iat"] == 60
    makers.gatepost.clock.advance(60)
    assert not makers.is_accepted(token)
    assert makers.is_accepted(token_of(makers, successor))


@pytest.mark.spec("K-12", "K-18")
def test_token_shrinks_when_its_keys_owner_gets_a_lower_role_and_ends_when_they_are_suspended(makers: Makers) -> None:
    _, text = members_key(makers, "developer", "users:read", "api-keys:write")
    token = token_of(makers, text)
    assert makers.verify(token).rights.allows("api-keys:write")
    with makers.gatepost.work() as work:
        membership = find_membership(work, makers.gateway.acme.id, get_user(work, "ada@example.com").id)
        assert membership is not None
        change_role(work, membership, "member")
    assert not makers.verify(token).rights.allows("api-keys:write")
    assert makers.verify(token).rights.allows("users:read")
    assert makers.introspect(token).get_json()["scope"] == "users:read"
    with makers.gatepost.work() as work:
        suspend_membership(work, work.db.merge(membership))
    assert not makers.is_accepted(token)


@pytest.mark.spec("K-12")
def test_token_is_dead_at_once_when_the_organization_is_suspended(makers: Makers) -> None:
    _, text = makers.gateway.key()
    token = token_of(makers, text)
    with makers.gatepost.work() as work:
        suspend_organization(work, work.db.merge(makers.gateway.acme))
    assert not makers.is_accepted(token)
    assert exchange(makers, text).get_json() == REFUSED


def test_token_is_nobodys_at_userinfo_and_cannot_be_revoked_by_a_client(makers: Makers) -> None:
    _, text = makers.gateway.key("*")
    token = token_of(makers, text)
    headers = {"Authorization": f"Bearer {token}"}
    assert makers.gatepost.browser().get("/oauth/userinfo", headers=headers).status_code == 401
    answer = makers.gatepost.browser().post(
        "/oauth/revoke", data={"token": token}, headers=basic("sharer", makers.secret)
    )
    assert answer.status_code == 200
    assert makers.is_accepted(token)


def test_token_is_none_when_its_claims_were_moved_to_another_key(makers: Makers) -> None:
    _, text = makers.gateway.key("users:read")
    other, _ = makers.gateway.key("*")
    claims = {**jwt_claims(token_of(makers, text)), "api_key": other.id}
    with makers.gatepost.work() as work:
        ours = signing_keys.signing_key(work, "RS256")
    forged = jose.sign(claims, jose.with_kid(jose.generate_key("RS256")), "RS256", "at+jwt")
    assert not makers.is_accepted(forged)
    # Even signed by ourselves it does no more than its scope says.
    assert makers.verify(jose.sign(claims, ours, "RS256", "at+jwt")).scope_set == {"users:read"}


# What is refused --------------------------------------------------------------------------------------------------


BROKEN: dict[str, Callable[[str], str]] = {
    "it is empty but for its prefix": lambda text: "gp_live_",
    "a character differs": lambda text: text[:12] + ("a" if text[12] != "a" else "b") + text[13:],
    "its checksum differs": altered,
    "it is longer": lambda text: text + "0",
    "it has space around it": lambda text: f" {text}",
    "it is no key at all": lambda text: "hello",
}


@pytest.mark.parametrize("why", BROKEN)
@pytest.mark.spec("RFC 8693 §2.2.2", "K-02")
def test_one_answer_is_given_for_every_key_that_does_not_hold_when(makers: Makers, why: str) -> None:
    _, text = makers.gateway.key()
    response = exchange(makers, BROKEN[why](text))
    assert (response.status_code, response.get_json()) == (400, REFUSED)


@pytest.mark.spec("RFC 8693 §2.2.2", "K-05")
def test_same_answer_is_given_when_the_key_is_expired_or_for_provisioning_or_used_from_elsewhere(
    makers: Makers,
) -> None:
    soon = makers.gatepost.clock.now() + timedelta(seconds=5)
    _, ends = makers.gateway.key(expires_at=soon)
    _, scim = makers.gateway.key("scim", kind="scim")
    _, bound = makers.gateway.key(ip_allow_list=["192.0.2.0/24"])
    makers.gatepost.clock.advance(5)
    for text in (ends, scim, bound):
        assert exchange(makers, text).get_json() == REFUSED


@pytest.mark.spec("K-09", "K-18")
def test_key_is_exchanged_where_it_may_be_used_from(makers: Makers) -> None:
    _, bound = makers.gateway.key(ip_allow_list=["127.0.0.0/8"])
    assert exchange(makers, bound).status_code == 200


WRONG: dict[str, tuple[dict[str, str | None], str]] = {
    "there is no subject_token": ({"subject_token": None}, "invalid_request"),
    "there is no subject_token_type": ({"subject_token_type": None}, "invalid_request"),
    "the type is an access token": ({"subject_token_type": ACCESS_TOKEN_TYPE}, "invalid_request"),
    "the type is a JWT": ({"subject_token_type": JWT_TYPE}, "invalid_request"),
    "the type is none": ({"subject_token_type": "api_key"}, "invalid_request"),
    "there is an actor": ({"actor_token": "x", "actor_token_type": ACCESS_TOKEN_TYPE}, "invalid_request"),
    "there is an actor's type alone": ({"actor_token_type": ACCESS_TOKEN_TYPE}, "invalid_request"),
    "a refresh token is wanted": (
        {"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        "invalid_request",
    ),
    "an ID token is wanted": ({"requested_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
    "a key is wanted": ({"requested_token_type": API_KEY_TYPE}, "invalid_request"),
    "the scope is malformed": ({"scope": 'users:"read'}, "invalid_scope"),
    "a client only names itself": ({"client_id": "sharer"}, "invalid_client"),
    "an unknown client names itself": ({"client_id": "nobody"}, "invalid_client"),
    "a secret comes without a client": ({"client_secret": "x"}, "invalid_client"),
}


@pytest.mark.parametrize("why", WRONG)
@pytest.mark.spec("RFC 8693 §2.1", "RFC 8693 §2.2.2", "TK-30")
def test_exchange_is_refused_when(makers: Makers, why: str) -> None:
    changes, error = WRONG[why]
    _, text = makers.gateway.key()
    response = exchange(makers, text, **changes)
    assert response.get_json()["error"] == error, response.text
    assert response.status_code == (401 if error == "invalid_client" else 400)
    assert makers.gatepost.audit_rows("api_key.exchanged") == []


# Clients that authenticate too ------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 8693 §2.1")
def test_client_may_authenticate_too_when_it_is_registered_for_it(makers: Makers) -> None:
    key, text = makers.gateway.key()
    flow = flow_of(makers.gatepost, "machine", client_id="exchanger", grant_types=(EXCHANGE,))
    right, wrong = basic("exchanger", flow.secret or ""), basic("exchanger", "wrong")
    body = exchange(makers, text, right).get_json()
    assert jwt_claims(body["access_token"])["client_id"] == key.id
    (row,) = makers.gatepost.audit_rows("api_key.exchanged")
    assert row.client_id == "exchanger"
    assert exchange(makers, text, wrong).get_json()["error"] == "invalid_client"
    assert exchange(makers, text, basic("sharer", makers.secret)).get_json()["error"] == "unauthorized_client"


@pytest.mark.spec("K-10", "INV-31")
def test_key_is_refused_when_the_client_is_of_another_world_or_organization(makers: Makers) -> None:
    other = makers.gateway.organization("Other", "other")
    acme = makers.gateway.acme
    places = {"its own": (acme.id, "live"), "another's": (other.id, "live"), "the test world": (acme.id, "test")}
    _, text = makers.gateway.key()
    for number, (organization_id, environment) in enumerate(places.values()):
        flow = flow_of(
            makers.gatepost,
            "machine",
            client_id=f"exchanger-{number}",
            grant_types=(EXCHANGE,),
            organization_id=organization_id,
            environment=environment,
        )
        response = exchange(makers, text, basic(flow.client.id, flow.secret or ""))
        assert (response.status_code == 200) is (number == 0)
        assert number == 0 or response.get_json() == REFUSED
