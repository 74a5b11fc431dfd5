"""`/.well-known/…`: at both places for an issuer with a path, cacheable, and without anything private."""

import pytest

from server.domain.key_rotation import prepare_next_key, retire_key, rotate_key
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker

DOCUMENTS = ("openid-configuration", "oauth-authorization-server")
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.spec("RFC 8414 §3.1", "OpenID Connect Discovery §4")
def test_document_stands_at_both_places_when_the_issuer_has_a_path(make_gatepost: GatepostMaker, name: str) -> None:
    gatepost = make_gatepost(issuer="http://localhost:8000/auth/tenant")
    browser = gatepost.browser()
    appended = browser.get(f"/auth/tenant/.well-known/{name}")
    inserted = browser.get(f"/.well-known/{name}/auth/tenant")
    assert appended.status_code == inserted.status_code == 200
    assert appended.get_data() == inserted.get_data()
    assert appended.get_json()["issuer"] == "http://localhost:8000/auth/tenant"
    for elsewhere in (f"/.well-known/{name}", f"/.well-known/{name}/auth", f"/.well-known/{name}/auth/other"):
        assert browser.get(elsewhere).status_code == 404


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.spec("RFC 8414 §3.2")
def test_document_is_json_that_may_be_kept_an_hour_when_read(gatepost: Gatepost, name: str) -> None:
    response = gatepost.browser().get(f"/.well-known/{name}")
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "public, max-age=3600"


def test_issuer_is_the_configured_one_when_headers_say_otherwise(gatepost: Gatepost) -> None:
    browser = gatepost.browser()
    plain = browser.get("/.well-known/openid-configuration").get_data()
    for headers in (
        {"Host": "127.0.0.1:9999"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
        {"Forwarded": "host=evil.example;proto=https"},
        {"X-Original-URL": "/evil", "X-Rewrite-URL": "/evil", "X-Forwarded-Prefix": "/evil"},
        {"X-HTTP-Method-Override": "POST"},
    ):
        assert browser.get("/.well-known/openid-configuration", headers=headers).get_data() == plain


@pytest.mark.spec("RFC 7517 §5", "OpenID Connect Core §10.1")
def test_keys_are_public_and_named_and_may_be_kept_a_quarter_of_an_hour_when_read(gatepost: Gatepost) -> None:
    response = gatepost.browser().get("/.well-known/jwks.json")
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "public, max-age=900"
    keys = response.get_json()["keys"]
    assert {key["alg"] for key in keys if key["use"] == "sig"} == {"RS256", "PS256", "ES256", "EdDSA"}
    # The elliptic one serves ECDH-ES with and without key wrapping, and so names none of them.
    assert {key.get("alg") for key in keys if key["use"] == "enc"} == {"RSA-OAEP-256", None}
    assert len({key["kid"] for key in keys}) == len(keys) == 6
    for key in keys:
        assert PRIVATE_MEMBERS.isdisjoint(key)
        assert key["kty"] in {"RSA", "EC", "OKP"}


def test_keys_come_and_go_when_they_are_rotated(gatepost: Gatepost) -> None:
    def kids() -> set[str]:
        keys = gatepost.browser().get("/.well-known/jwks.json").get_json()["keys"]
        return {key["kid"] for key in keys if key.get("alg") == "RS256"}

    (first,) = kids()
    with gatepost.work() as work:
        second = prepare_next_key(work, "RS256").kid
    assert kids() == {first, second}
    with gatepost.work() as work:
        assert rotate_key(work, "RS256").kid == second
    assert kids() == {first, second}
    with gatepost.work() as work:
        retire_key(work, first)
    assert kids() == {second}


@pytest.mark.parametrize("name", [*DOCUMENTS, "jwks.json"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_method_is_refused_when_a_document_is_not_read(gatepost: Gatepost, name: str, method: str) -> None:
    response = gatepost.browser().open(f"/.well-known/{name}", method=method)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
