"""What a client registered once counts in every request: its defaults, and the form in which it is told of people."""

from __future__ import annotations

import json

import pytest
from joserfc import jwe

from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.relying_party import (
    SIGNING_ALGORITHMS,
    answer_in,
    decryption_key,
    jws_part,
    register,
    relying_party,
)


@pytest.fixture
def provider(make_gatepost: GatepostMaker) -> Gatepost:
    return make_gatepost(registration="open", acr_ladder={"1": ("pwd",), "2": ("pwd", "otp")})


@pytest.mark.spec("OpenID Connect Registration §2", "OpenID Connect Core §3.1.2.1", "AZ-22")
def test_sign_in_is_asked_anew_when_it_is_older_than_the_clients_default(provider: Gatepost) -> None:
    client = relying_party(provider, default_max_age=60)
    first = client.read(client.tokens(scope="openid")["id_token"]).claims
    provider.clock.advance(30)
    assert "code" in answer_in(client.authorize(scope="openid", prompt="none"))
    provider.clock.advance(31)
    assert answer_in(client.authorize(scope="openid", prompt="none"))["error"] == "login_required"
    lenient = answer_in(client.authorize(scope="openid", prompt="none", max_age="3600"))
    assert "code" in lenient, "what a request asks for counts before the default"
    second = client.read(client.tokens(scope="openid")["id_token"]).claims
    assert second["auth_time"] == first["auth_time"] + 61


@pytest.mark.parametrize("response_type", ["code", "id_token"])
@pytest.mark.spec("OpenID Connect Registration §2", "OpenID Connect Core §2")
def test_auth_time_is_told_when_the_client_requires_it(provider: Gatepost, response_type: str) -> None:
    client = relying_party(provider, require_auth_time=True)
    answer = client.answer(response_type=response_type)
    token = answer["id_token"] if "id_token" in answer else client.redeem(answer["code"]).get_json()["id_token"]
    assert client.read(token).claims["auth_time"] == client.seconds()


@pytest.mark.spec("OpenID Connect Registration §2", "OpenID Connect Core §3.1.2.1", "INV-12")
def test_acr_tells_what_happened_when_the_client_would_like_more(provider: Gatepost) -> None:
    client = relying_party(provider, default_acr_values=["2", "1"])
    assert client.read(client.tokens()["id_token"]).claims["acr"] == "1"
    assert client.read(client.tokens(acr_values="gold 2")["id_token"]).claims["acr"] == "1"


# userinfo ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.spec("OpenID Connect Core §5.3.2")
def test_userinfo_is_json_when_nothing_else_was_registered(provider: Gatepost, method: str) -> None:
    client = relying_party(provider)
    token = client.tokens()["access_token"]
    sent = {"data": {"access_token": token}} if method == "POST" else {"headers": {"Authorization": f"Bearer {token}"}}
    response = client.browser.open("/oauth/userinfo", method=method, **sent)
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
@pytest.mark.spec("OpenID Connect Core §5.3.2", "TK-16")
def test_userinfo_is_a_token_for_this_client_when_it_is_signed(provider: Gatepost, algorithm: str) -> None:
    client = relying_party(provider, userinfo_signed_response_alg=algorithm)
    tokens = client.tokens(scope="openid email")
    response = client.userinfo(tokens["access_token"])
    assert (response.status_code, response.mimetype) == (200, "application/jwt")
    assert response.headers["Cache-Control"] == "no-store"
    read = client.read(response.text)
    assert read.headers[0]["alg"] == algorithm
    assert (read.claims["iss"], read.claims["aud"]) == (ISSUER, client.client.id)
    assert read.claims["sub"] == client.read(tokens["id_token"]).claims["sub"]
    assert read.claims["email"] == client.email
    assert "nonce" not in read.claims


@pytest.mark.parametrize(("alg", "enc"), [("RSA-OAEP-256", "A256GCM"), ("ECDH-ES", "A128CBC-HS256")])
@pytest.mark.spec("OpenID Connect Core §5.3.2", "OpenID Connect Core §16.14")
def test_userinfo_is_signed_then_encrypted_when_both_were_registered(provider: Gatepost, alg: str, enc: str) -> None:
    client = relying_party(
        provider,
        userinfo_signed_response_alg="ES256",
        userinfo_encrypted_response_alg=alg,
        userinfo_encrypted_response_enc=enc,
    )
    read = client.read(client.userinfo(client.tokens(scope="openid email")["access_token"]).text)
    assert (read.headers[0]["alg"], read.headers[0]["enc"], read.headers[0]["cty"]) == (alg, enc, "JWT")
    assert read.claims["email"] == client.email


@pytest.mark.spec("OpenID Connect Core §5.3.2")
def test_userinfo_is_encrypted_claims_when_it_is_encrypted_alone(provider: Gatepost) -> None:
    client = relying_party(provider, userinfo_encrypted_response_alg="ECDH-ES")
    response = client.userinfo(client.tokens(scope="openid email")["access_token"])
    assert response.mimetype == "application/jwt"
    registry = jwe.JWERegistry(algorithms=["ECDH-ES", "A128CBC-HS256"])
    opened = jwe.decrypt_compact(response.text, decryption_key("ECDH-ES"), registry=registry)
    assert opened.plaintext is not None
    inside = opened.plaintext
    claims = json.loads(inside if inside.startswith(b"{") else jws_part(inside.decode(), 1))
    assert claims["email"] == client.email
    assert claims["sub"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"id_token_encrypted_response_enc": "A128GCM"},
        {"userinfo_encrypted_response_enc": "A128GCM"},
        {"request_object_encryption_enc": "A128GCM"},
        {"authorization_encrypted_response_enc": "A128GCM"},
    ],
)
@pytest.mark.spec("OpenID Connect Registration §2", "JARM §3")
def test_registration_is_refused_when_a_content_encryption_has_no_key_to_go_with(
    provider: Gatepost, metadata: dict[str, str]
) -> None:
    """§2: when `…_enc` is included, `…_alg` has to be too."""
    response = register(provider, **metadata)
    assert response.status_code == 400
    assert response.get_json()["error"] == "invalid_client_metadata"
