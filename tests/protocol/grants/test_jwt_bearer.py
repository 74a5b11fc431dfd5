"""A token that a client made, as a grant: an access token of ours within it, for whom it names, once if it says so."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse

from tests.protocol.client_authentication.assertions import signed, signed_with_secret
from tests.support.deployment import GatepostMaker
from tests.support.flow import basic, jwt_claims
from tests.support.makers import AUDIENCE, SCOPES, Makers

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
REFUSED = {"error": "invalid_grant", "error_description": "The assertion is not valid."}
MAKERS = ("sharer", "signer")
GUESSES = 30


@pytest.fixture
def makers(make_gatepost: GatepostMaker) -> Makers:
    return Makers(make_gatepost(scopes=SCOPES, access_token_audience=AUDIENCE))


def present(
    makers: Makers, assertion: str | None, headers: dict[str, str] | None = None, **changes: str
) -> TestResponse:
    form = {"grant_type": JWT_BEARER, **({} if assertion is None else {"assertion": assertion}), **changes}
    return makers.gatepost.browser().post("/oauth/token", data=form, headers=headers)


@pytest.mark.parametrize("client_id", MAKERS)
@pytest.mark.spec("RFC 7523 §2.1", "RFC 7521 §4.1")
def test_access_token_is_the_clients_own_when_its_token_speaks_of_itself(makers: Makers, client_id: str) -> None:
    response = present(makers, makers.token(client_id))
    body = response.get_json()
    assert (response.status_code, body["scope"]) == (200, "notes:read users:*")
    assert "refresh_token" not in body
    assert "id_token" not in body
    claims = jwt_claims(body["access_token"])
    assert (claims["sub"], claims["client_id"], claims["aud"]) == (client_id, client_id, AUDIENCE)
    verified = makers.verify(body["access_token"])
    assert (verified.kind, verified.subject) == ("access_token", client_id)
    (row,) = makers.gatepost.audit_rows("token.issued")
    assert (row.client_id, row.details["grant_type"], row.actor_id) == (client_id, JWT_BEARER, client_id)


@pytest.mark.spec("RFC 7523 §3", "RFC 9700 §4.15")
def test_access_token_is_about_whom_the_client_names_when_that_is_nobody_of_ours(makers: Makers) -> None:
    body = present(makers, makers.token(sub="customer 4711")).get_json()
    claims = jwt_claims(body["access_token"])
    assert (claims["sub"], claims["client_id"]) == ("customer 4711", "sharer")
    assert makers.verify(body["access_token"]).user is None
    headers = {"Authorization": f"Bearer {body['access_token']}"}
    assert makers.gatepost.browser().get("/oauth/userinfo", headers=headers).status_code == 403


@pytest.mark.spec("RFC 7521 §4.1")
def test_token_may_say_that_it_is_a_grant_when_it_is_used_as_one(makers: Makers) -> None:
    token = signed(makers.claims("signer"), makers.key, "ES256", typ="authorization-grant+jwt")
    assert present(makers, token).status_code == 200
    assert not makers.is_accepted(token)
    assert present(makers, signed(makers.claims("signer"), makers.key, "ES256", typ="at+jwt")).get_json() == REFUSED


@pytest.mark.parametrize(
    ("said", "asked", "given"),
    [
        (None, None, "notes:read users:*"),
        (None, "users:read", "users:read"),
        ("users:*", "users:read users:write", "users:read users:write"),
        ("notes:read", None, "notes:read"),
        ("users:read", "users:read", "users:read"),
    ],
)
@pytest.mark.spec("RFC 7521 §4.1")
def test_scope_is_what_was_asked_for_within_the_assertion(
    makers: Makers, said: str | None, asked: str | None, given: str
) -> None:
    token = makers.token(**({} if said is None else {"scope": said}))
    assert present(makers, token, **({} if asked is None else {"scope": asked})).get_json()["scope"] == given


@pytest.mark.parametrize(("said", "asked"), [("notes:read", "users:read"), ("users:read", "users:*"), (None, "openid")])
@pytest.mark.spec("RFC 7521 §4.1.1")
def test_scope_is_refused_and_nothing_used_up_when_it_is_more_than_the_assertion_allows(
    makers: Makers, said: str | None, asked: str
) -> None:
    token = makers.token(jti=makers.fresh_jti(), **({} if said is None else {"scope": said}))
    assert present(makers, token, scope=asked).get_json()["error"] == "invalid_scope"
    assert present(makers, token).status_code == 200


@pytest.mark.parametrize("client_id", MAKERS)
@pytest.mark.spec("RFC 7523 §3")
def test_assertion_counts_once_when_it_has_a_jti_wherever_it_is_used(makers: Makers, client_id: str) -> None:
    token = makers.token(client_id, jti=makers.fresh_jti())
    assert present(makers, token).status_code == 200
    assert present(makers, token).get_json() == REFUSED
    assert not makers.is_accepted(token)
    assert makers.refused() == ["used before", "used before"]
    bearer = makers.token(client_id, jti=makers.fresh_jti())
    assert makers.is_accepted(bearer)
    assert present(makers, bearer).get_json() == REFUSED


@pytest.mark.spec("RFC 7523 §3.1")
def test_one_answer_is_given_for_every_assertion_that_does_not_hold_and_each_is_audited(makers: Makers) -> None:
    now = int(makers.gatepost.clock.now().timestamp())
    wrong = [
        signed_with_secret(makers.claims(), "x" * 43),
        makers.token(aud="https://other.example"),
        makers.token(exp=now - 60, iat=now - 120),
        makers.token(exp=now + 3601),
        *(makers.token(sub=sub) for sub in ("usr_x", " usr_x", "usr_x ", "USR_x", "\u00a0key_x")),
        makers.token(scope="notes:write"),
    ]
    for number, token in enumerate(wrong, 1):
        response = present(makers, token)
        assert (response.status_code, response.get_json()) == (400, REFUSED)
        assert len(makers.refused()) == number
    assert present(makers, makers.token(iss="nobody")).get_json() == REFUSED
    assert present(makers, "not a token").get_json() == REFUSED
    assert len(makers.refused()) == len(wrong)


def test_assertion_is_refused_when_its_client_may_not_make_tokens(makers: Makers) -> None:
    makers.gatepost.change_client("sharer", jwt_authentication=False)
    assert present(makers, makers.token()).get_json() == REFUSED


def test_request_is_malformed_when_the_assertion_is_missing_or_the_scope_is_none(makers: Makers) -> None:
    assert present(makers, None).get_json()["error"] == "invalid_request"
    assert present(makers, makers.token(), scope='x"y').get_json()["error"] == "invalid_scope"


@pytest.mark.spec("RFC 7521 §4.1")
def test_client_that_authenticates_too_has_to_be_the_one_that_signed(makers: Makers) -> None:
    own, wrong = basic("sharer", makers.secret), basic("sharer", "wrong")
    api = basic(makers.resource_server.id, makers.resource_secret or "")
    assert present(makers, makers.token(), own).status_code == 200
    assert present(makers, makers.token(), wrong).get_json()["error"] == "invalid_client"
    assert present(makers, makers.token(), api).get_json() == REFUSED
    assert makers.refused() == ["another client's"]
    assert present(makers, makers.token(), client_id="sharer").get_json()["error"] == "invalid_client"


def test_network_is_stopped_when_it_keeps_guessing(makers: Makers) -> None:
    wrong = signed_with_secret(makers.claims(), "x" * 43)
    statuses = [present(makers, wrong).status_code for _ in range(GUESSES + 2)]
    assert (statuses[0], statuses[-1]) == (400, 429)
    assert present(makers, makers.token("signer")).status_code == 200


def test_token_of_a_test_client_is_for_the_test_world(makers: Makers) -> None:
    _, secret = makers.add("tester", environment="test", organization_id=makers.gateway.acme.id)
    assert present(makers, makers.token("tester", secret)).get_json() == REFUSED, "for the live world"
    body = present(makers, makers.token("tester", secret, aud=f"{AUDIENCE}/test")).get_json()
    claims = jwt_claims(body["access_token"])
    assert (claims["aud"], claims["environment"]) == (f"{AUDIENCE}/test", "test")
    assert claims["organization_id"] == makers.gateway.acme.id
