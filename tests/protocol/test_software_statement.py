"""Software statements: those of trusted issuers are right, over whatever the client says; others are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from server.infra import jose
from server.infra.jose import SigningKey
from tests.support.application import Gatepost
from tests.support.stored_pages import StoredPages

ISSUER, JWKS_URI = "https://directory.example", "https://directory.example/jwks.json"
MINIMAL = {"redirect_uris": ["https://app.example/cb"]}
KEYS = {algorithm: jose.generate_key(algorithm) for algorithm in jose.SIGNING_ALGORITHMS}


@pytest.fixture
def gatepost(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    return make_gatepost(registration="open", registration_per_hour=1000, software_statement_issuers={ISSUER: JWKS_URI})


@pytest.fixture
def pages(gatepost: Gatepost) -> StoredPages:
    """The issuer's site."""
    return StoredPages({JWKS_URI: {"keys": [jose.public_jwk(key) for key in KEYS.values()]}}).put_into(gatepost)


def statement(algorithm: str = "ES256", key: SigningKey | None = None, **claims: Any) -> str:
    return jose.sign({"iss": ISSUER, **claims}, key or KEYS[algorithm], algorithm, "JWT")


def register(gatepost: Gatepost, software_statement: Any, **members: Any) -> TestResponse:
    document = {**MINIMAL, **members, "software_statement": software_statement}
    return gatepost.browser().post("/oauth/register", json=document)


@pytest.mark.spec("RFC 7591 §2.3", "RFC 7591 §3.1.1", "RFC 7591 §3.2.1")
@pytest.mark.parametrize("algorithm", jose.SIGNING_ALGORITHMS)
def test_statement_is_right_where_the_client_says_something_else(
    gatepost: Gatepost, pages: StoredPages, algorithm: str
) -> None:
    signed = statement(algorithm, client_name="Vouched for", software_id="4NRB1", scope="openid", no_such="x")
    response = register(gatepost, signed, client_name="Something else", software_version="2")
    assert response.status_code == 201, response.text
    document = response.get_json()
    assert (document["client_name"], document["software_id"], document["scope"]) == ("Vouched for", "4NRB1", "openid")
    assert document["software_version"] == "2"
    assert document["software_statement"] == signed
    assert not {"iss", "no_such"} & set(document)


def test_statement_says_all_when_the_client_says_nothing(gatepost: Gatepost, pages: StoredPages) -> None:
    body = {"software_statement": statement(**MINIMAL)}
    assert gatepost.browser().post("/oauth/register", json=body).status_code == 201


def test_statement_cannot_say_what_a_client_could_not(gatepost: Gatepost, pages: StoredPages) -> None:
    for claims in (
        {"client_name": 5},
        {"redirect_uris": ["http://x.example/"]},
        {"grant_types": ["client_credentials"]},
    ):
        assert register(gatepost, statement(**claims)).status_code == 400
    document = register(gatepost, statement(client_id="chosen", is_first_party=True)).get_json()
    assert document["client_id"] != "chosen"


@pytest.mark.spec("RFC 7591 §3.2.2")
def test_statement_is_unapproved_when_its_issuer_is_not_trusted(gatepost: Gatepost, pages: StoredPages) -> None:
    for issuer in ("https://other.example", ISSUER + "/", None, 5, ["x"]):
        response = register(gatepost, jose.sign({"iss": issuer}, KEYS["ES256"], "ES256", "JWT"))
        assert (response.status_code, response.get_json()["error"]) == (400, "unapproved_software_statement")
    assert pages.asked == []


@pytest.mark.spec("RFC 7591 §3.2.2")
def test_statement_is_invalid_when_it_is_not_signed_by_its_issuer(gatepost: Gatepost, pages: StoredPages) -> None:
    stranger = jose.generate_key("ES256")
    good = statement(client_name="Vouched for")
    header, payload, signature = good.split(".")
    forged = [
        statement(key=stranger),
        f"{header}.{payload}.",
        f"eyJhbGciOiJub25lIn0.{payload}.",
        f"{header}.{statement(client_name='Other').split('.')[1]}.{signature}",
        good + "=",
        "x",
        "",
        "a.b.c",
    ]
    for each in forged:
        response = register(gatepost, each)
        assert (response.status_code, response.get_json()["error"]) == (400, "invalid_software_statement"), each


@pytest.mark.spec("RFC 7519 §4.1.4", "RFC 7519 §4.1.5")
def test_statement_is_invalid_when_it_is_out_of_date(gatepost: Gatepost, pages: StoredPages) -> None:
    now = int(gatepost.clock.now().timestamp())
    for claims in ({"exp": now - 61}, {"nbf": now + 61}, {"exp": "tomorrow"}, {"nbf": True}, {"exp": [now]}):
        response = register(gatepost, statement(**claims))
        assert (response.status_code, response.get_json()["error"]) == (400, "invalid_software_statement"), claims
    assert register(gatepost, statement(exp=now - 59, nbf=now + 59, iat=now)).status_code == 201


def test_keys_of_the_issuer_are_fetched_once_and_again_when_it_has_a_new_one(
    gatepost: Gatepost, pages: StoredPages
) -> None:
    for _ in range(3):
        assert register(gatepost, statement()).status_code == 201
    assert pages.asked == [JWKS_URI]
    newer = jose.generate_key("ES256")
    pages.pages[JWKS_URI] = {"keys": [jose.public_jwk(newer)]}
    gatepost.clock.advance(6)
    assert register(gatepost, statement(key=newer)).status_code == 201
    assert pages.asked == [JWKS_URI, JWKS_URI]


def test_statement_is_invalid_when_its_issuer_does_not_answer(gatepost: Gatepost) -> None:
    StoredPages().put_into(gatepost)
    response = register(gatepost, statement())
    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_software_statement")
