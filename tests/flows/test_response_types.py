"""Every response type in every response mode: what stands in the answer, where, and how the parts are bound together.

OAuth 2.0 Multiple Response Type Encoding Practices, Form Post Response Mode, JWT Secured Authorization Response Mode
(JARM), OpenID Connect Core §3.2 and §3.3.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import VERIFIER
from tests.support.relying_party import (
    CALLBACK,
    RESPONSE_TYPES,
    SIGNING_ALGORITHMS,
    Answer,
    RelyingParty,
    answer_in,
    register,
    relying_party,
)

IN_THE_FRAGMENT = ("id_token", "id_token token", "code id_token", "code token", "code id_token token")
WITH_ID_TOKEN = tuple(each for each in RESPONSE_TYPES if "id_token" in each.split())
WITH_TOKEN = tuple(each for each in RESPONSE_TYPES if "token" in each.split())
WITH_CODE = tuple(each for each in RESPONSE_TYPES if "code" in each.split())
MODES = ("query", "fragment", "form_post", "jwt", "query.jwt", "fragment.jwt", "form_post.jwt")
#: Beside what the response type names: always there, and what may be (OpenID Connect Session Management §3).
ALWAYS, SOMETIMES = {"state", "iss"}, {"session_state"}
NAMES = {
    "code": {"code"},
    "id_token": {"id_token"},
    "token": {"access_token", "token_type", "expires_in", "scope"},
    "none": set(),
}
STATE = 'a "state" & <more> é 💥 + %00'


@pytest.fixture
def provider(make_gatepost: GatepostMaker) -> Gatepost:
    return make_gatepost(registration="open")


@pytest.fixture
def client(provider: Gatepost) -> RelyingParty:
    return relying_party(provider)


def default_mode(response_type: str) -> str:
    return "fragment" if response_type in IN_THE_FRAGMENT else "query"


def half_of_hash(value: str, algorithm: str) -> str:
    hashed = (hashlib.sha512 if algorithm == "EdDSA" else hashlib.sha256)(value.encode()).digest()
    return base64.urlsafe_b64encode(hashed[: len(hashed) // 2]).rstrip(b"=").decode()


def unwrapped(client: RelyingParty, answer: Answer) -> dict[str, Any]:
    """The parameters of an answer, taken out of its token if they travelled in one (JARM §2.1)."""
    if "response" not in answer:
        return dict(answer.parameters)
    assert set(answer.parameters) == {"response"}
    return client.read(answer["response"]).claims


# What an answer holds, and where ----------------------------------------------------------------------------------


@pytest.mark.parametrize("response_type", RESPONSE_TYPES)
@pytest.mark.spec("OpenID Connect Core §3.2.2.5", "OpenID Connect Core §3.3.2.5", "RFC 9207 §2", "INV-21", "AZ-15")
def test_answer_holds_what_the_response_type_names_when_all_is_allowed(
    client: RelyingParty, response_type: str
) -> None:
    answer = client.answer(response_type=response_type, state=STATE)
    assert answer.target == CALLBACK
    assert answer.mode == default_mode(response_type)
    wanted = set().union(*(NAMES[name] for name in response_type.split())) | ALWAYS
    assert wanted - {"scope"} <= set(answer.parameters) <= wanted | SOMETIMES
    assert answer["state"] == STATE
    assert answer["iss"] == ISSUER
    if "token" in response_type.split():
        assert answer["token_type"] == "Bearer"
        assert int(answer["expires_in"]) == client.gatepost.settings.access_token_lifetime


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("response_type", RESPONSE_TYPES)
@pytest.mark.spec("OAuth 2.0 Multiple Response Types §2.1", "OAuth 2.0 Form Post Response Mode §2", "JARM §2.3")
def test_answer_travels_as_the_response_mode_says_when_one_is_named(
    client: RelyingParty, response_type: str, mode: str
) -> None:
    answer = answer_in(client.walk(client.authorize(response_type=response_type, response_mode=mode)))
    carrier, _, form = mode.rpartition(".")
    expected = default_mode(response_type) if mode == "jwt" else carrier or mode
    if mode.startswith("query") and response_type in IN_THE_FRAGMENT:
        # A token in the query would be kept by histories and logs (Multiple Response Types §2.1, §3; JARM §2.3.1).
        found = unwrapped(client, answer)
        assert found["error"] == "invalid_request"
        assert not {"code", "id_token", "access_token"} & set(found)
        return
    assert answer.mode == expected
    found = unwrapped(client, answer)
    assert ("response" in answer) is (form == "jwt")
    wanted = set().union(*(NAMES[name] for name in response_type.split())) - {"scope"}
    assert wanted | {"state", "iss"} <= set(found)
    assert found["state"] == "a state"


@pytest.mark.parametrize("value", ["token", "code none", "none id_token", "device", "", "code  id_token", "code code"])
@pytest.mark.spec("RFC 6749 §3.1.1", "RFC 6749 §4.1.2.1", "AZ-20")
def test_error_is_sent_when_no_such_response_type_exists(client: RelyingParty, value: str) -> None:
    answer = answer_in(client.authorize(response_type=value))
    assert answer["error"] in {"unsupported_response_type", "invalid_request"}
    assert answer["state"] == "a state"
    assert answer["iss"] == ISSUER


@pytest.mark.parametrize(
    ("value", "same"),
    [("id_token code", "code id_token"), ("token id_token", "id_token token"), ("token id_token code", "code token")],
)
@pytest.mark.spec("RFC 6749 §3.1.1")
def test_order_of_the_words_does_not_matter_when_a_response_type_has_several(
    client: RelyingParty, value: str, same: str
) -> None:
    answer = client.answer(response_type=value)
    assert set(client.answer(response_type=same).parameters) <= set(answer.parameters)


@pytest.mark.parametrize("response_type", RESPONSE_TYPES)
@pytest.mark.spec("RFC 7591 §2", "AZ-20")
def test_error_is_sent_when_the_client_is_not_registered_for_the_response_type(
    provider: Gatepost, response_type: str
) -> None:
    others = [each for each in RESPONSE_TYPES if each != response_type]
    answer = answer_in(relying_party(provider, response_types=others).authorize(response_type=response_type))
    assert answer["error"] == "unauthorized_client"
    assert answer.mode == default_mode(response_type)


@pytest.mark.spec("RFC 7591 §2.1", "AZ-20")
def test_code_alone_is_answered_when_nothing_else_was_asked_for_at_registration(provider: Gatepost) -> None:
    client = relying_party(provider, response_types=None, grant_types=None)
    assert client.registration["response_types"] == ["code"]
    assert client.registration["grant_types"] == ["authorization_code"]
    assert "code" in client.answer()
    for response_type in RESPONSE_TYPES[1:]:
        assert answer_in(client.authorize(response_type=response_type))["error"] == "unauthorized_client"


@pytest.mark.parametrize(
    ("response_types", "grant_types"),
    [(["id_token"], ["authorization_code"]), (["code id_token"], ["authorization_code"]), (["code"], ["implicit"])],
)
@pytest.mark.spec("RFC 7591 §2.1")
def test_registration_is_refused_or_corrected_when_grant_types_do_not_fit(
    provider: Gatepost, response_types: list[str], grant_types: list[str]
) -> None:
    response = register(provider, response_types=response_types, grant_types=grant_types)
    if response.status_code == 201:
        needed = {"implicit" for each in response_types if "token" in each}
        needed |= {"authorization_code" for each in response_types if "code" in each}
        assert needed <= set(response.get_json()["grant_types"])
    else:
        assert response.status_code == 400
        assert response.get_json()["error"] == "invalid_client_metadata"


@pytest.mark.spec("OAuth 2.0 Multiple Response Types §4")
def test_nothing_is_issued_when_the_response_type_is_none(client: RelyingParty) -> None:
    client.answer(response_type="none")
    assert not {"authorization_code.issued", "token.issued"} & set(client.gatepost.audit_events())


# Nonce ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response_type", IN_THE_FRAGMENT)
@pytest.mark.spec("OpenID Connect Core §3.2.2.1", "OpenID Connect Core §3.3.2.11")
def test_nonce_is_demanded_when_a_token_comes_from_the_authorization_endpoint(
    client: RelyingParty, response_type: str
) -> None:
    for nonce in (None, ""):
        answer = answer_in(client.authorize(response_type=response_type, nonce=nonce))
        assert answer["error"] == "invalid_request"
        assert answer.mode == "fragment"


@pytest.mark.parametrize("response_type", ["code", "none"])
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_nonce_is_not_demanded_when_no_token_comes_from_the_authorization_endpoint(
    client: RelyingParty, response_type: str
) -> None:
    assert "error" not in client.answer(response_type=response_type, nonce=None)


# Binding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
@pytest.mark.parametrize("response_type", WITH_ID_TOKEN)
@pytest.mark.spec("OpenID Connect Core §3.2.2.9", "OpenID Connect Core §3.3.2.11", "TK-18")
def test_id_token_is_bound_to_code_and_token_when_they_come_together(
    provider: Gatepost, response_type: str, algorithm: str
) -> None:
    client = relying_party(provider, id_token_signed_response_alg=algorithm)
    answer = client.answer(response_type=response_type)
    read = client.read(answer["id_token"])
    claims = read.claims
    assert read.headers[0]["alg"] == algorithm
    assert set(read.headers[0]) == {"alg", "kid", "typ"}
    assert claims["nonce"] == "a-nonce"
    assert (claims["iss"], claims["aud"]) == (ISSUER, client.client.id)
    assert claims["exp"] - claims["iat"] == provider.settings.id_token_lifetime
    assert claims["iat"] == client.seconds()
    assert claims["sid"]
    assert claims["auth_time"]
    for member, hash_name in (("access_token", "at_hash"), ("code", "c_hash")):
        if member in answer:
            assert claims[hash_name] == half_of_hash(answer[member], algorithm)
        else:
            assert hash_name not in claims
    assert claims.get("s_hash", half_of_hash("a state", algorithm)) == half_of_hash("a state", algorithm)


@pytest.mark.parametrize("response_type", WITH_CODE)
@pytest.mark.spec("OpenID Connect Core §3.3.3.6", "OpenID Connect Core §3.3.3.8")
def test_both_id_tokens_tell_the_same_when_one_comes_from_each_endpoint(
    client: RelyingParty, response_type: str
) -> None:
    answer = client.answer(response_type=response_type)
    response = client.redeem(answer["code"])
    assert response.status_code == 200, response.text
    tokens = response.get_json()
    second = client.read(tokens["id_token"]).claims
    assert second["nonce"] == "a-nonce"
    assert second.get("at_hash", "") in {"", half_of_hash(tokens["access_token"], "RS256")}
    if "id_token" in answer:
        first = client.read(answer["id_token"]).claims
        for name in ("iss", "sub", "aud", "auth_time", "acr", "amr", "sid", "nonce"):
            assert first[name] == second[name], name


@pytest.mark.parametrize("response_type", WITH_CODE)
@pytest.mark.spec("OpenID Connect Core §3.3.3.2", "TK-03", "TK-04")
def test_code_of_a_hybrid_answer_is_as_bound_as_any_other_when_it_is_redeemed(
    client: RelyingParty, response_type: str
) -> None:
    code = client.answer(response_type=response_type)["code"]
    for changes in (
        {"code_verifier": VERIFIER[::-1]},
        {"code_verifier": None},
        {"redirect_uri": f"{CALLBACK}/"},
        {"code": code[:-1]},
    ):
        response = client.redeem(**{"code": code, **changes})
        assert response.status_code == 400
        assert response.get_json()["error"] == "invalid_grant"
    assert client.redeem(code).status_code == 200


@pytest.mark.parametrize("response_type", [each for each in WITH_CODE if each in WITH_TOKEN])
@pytest.mark.spec("RFC 6749 §4.1.2", "TK-01", "INV-10")
def test_token_of_a_hybrid_answer_dies_when_its_code_is_replayed(client: RelyingParty, response_type: str) -> None:
    answer = client.answer(response_type=response_type)
    assert client.userinfo(answer["access_token"]).status_code == 200
    client.redeem(answer["code"])
    assert client.userinfo(answer["access_token"]).status_code == 200
    client.redeem(answer["code"])
    assert client.userinfo(answer["access_token"]).status_code == 401


@pytest.mark.parametrize("response_type", WITH_CODE)
@pytest.mark.spec("RFC 7636 §4.4.1", "AZ-11", "TK-04")
def test_challenge_is_demanded_of_a_public_client_when_a_code_is_issued(provider: Gatepost, response_type: str) -> None:
    client = relying_party(provider, token_endpoint_auth_method="none")
    gone = {"code_challenge": None, "code_challenge_method": None}
    answer = answer_in(client.authorize(response_type=response_type, **gone))
    assert answer["error"] == "invalid_request"
    assert answer.mode == default_mode(response_type)


@pytest.mark.parametrize("response_type", ["id_token", "id_token token"])
@pytest.mark.spec("RFC 7636 §4", "OpenID Connect Core §3.2")
def test_challenge_is_not_demanded_when_no_code_is_issued(provider: Gatepost, response_type: str) -> None:
    client = relying_party(provider, token_endpoint_auth_method="none")
    gone = {"code_challenge": None, "code_challenge_method": None}
    assert "id_token" in client.answer(response_type=response_type, **gone)


@pytest.mark.parametrize("response_type", WITH_ID_TOKEN)
@pytest.mark.parametrize("alg", ["RSA-OAEP-256", "ECDH-ES+A256KW"])
@pytest.mark.spec("OpenID Connect Core §10.2", "OpenID Connect Core §16.14", "OpenID Connect Core §3.1.2.1")
def test_id_token_is_signed_then_encrypted_and_its_inside_is_a_hint_when_registered_so(
    provider: Gatepost, response_type: str, alg: str
) -> None:
    client = relying_party(provider, id_token_encrypted_response_alg=alg, id_token_signed_response_alg="PS256")
    answer = client.answer(response_type=response_type)
    read = client.read(answer["id_token"])
    assert read.is_encrypted
    # Without a named one the content encryption is A128CBC-HS256 (OpenID Connect Registration §2).
    assert (read.headers[0]["alg"], read.headers[0]["enc"]) == (alg, "A128CBC-HS256")
    assert read.headers[1]["alg"] == "PS256"
    for member, hash_name in (("access_token", "at_hash"), ("code", "c_hash")):
        if member in answer:
            assert read.claims[hash_name] == half_of_hash(answer[member], "PS256")
    hinted = client.answer(response_type=response_type, prompt="none", id_token_hint=read.inside)
    assert "id_token" in hinted


# Tokens from the authorization endpoint ---------------------------------------------------------------------------


@pytest.mark.parametrize("response_type", WITH_TOKEN)
@pytest.mark.spec("OpenID Connect Core §3.2.2.5", "RFC 6749 §4.2.2", "INV-16")
def test_access_token_is_one_like_any_other_when_it_comes_from_the_authorization_endpoint(
    client: RelyingParty, response_type: str
) -> None:
    answer = client.answer(response_type=response_type, scope="openid email offline_access", prompt="consent")
    assert "refresh_token" not in answer
    told = client.userinfo(answer["access_token"])
    assert told.status_code == 200
    assert told.get_json()["email"] == client.email
    introspected = client.ask("/oauth/introspect", token=answer["access_token"]).get_json()
    assert introspected["active"] is True
    assert set(introspected["scope"].split()) <= {"openid", "email", "offline_access"}
    assert client.ask("/oauth/revoke", token=answer["access_token"]).status_code == 200
    assert client.userinfo(answer["access_token"]).status_code == 401


@pytest.mark.parametrize("response_type", WITH_TOKEN)
@pytest.mark.spec("INV-11", "INV-10", "TK-12")
def test_access_token_from_the_authorization_endpoint_dies_when_the_person_is_disabled(
    client: RelyingParty, response_type: str
) -> None:
    token = client.answer(response_type=response_type)["access_token"]
    client.gatepost.change_user(client.email, disabled_at=client.gatepost.clock.now())
    assert client.userinfo(token).status_code == 401


@pytest.mark.spec("RFC 6749 §4.2.2", "INV-09")
def test_access_token_from_the_authorization_endpoint_ends_when_its_time_is_up(client: RelyingParty) -> None:
    answer = client.answer(response_type="id_token token")
    client.gatepost.clock.advance(int(answer["expires_in"]) + 1)
    assert client.userinfo(answer["access_token"]).status_code == 401


@pytest.mark.parametrize("response_type", RESPONSE_TYPES)
@pytest.mark.spec("OpenID Connect Core §5.4")
def test_claims_stand_in_the_id_token_when_there_is_no_access_token_to_ask_with(
    client: RelyingParty, response_type: str
) -> None:
    answer = client.answer(response_type=response_type, scope="openid profile email")
    tokens = client.redeem(answer["code"]).get_json() if "code" in answer else {}
    for token in (answer.parameters.get("id_token"), tokens.get("id_token")):
        if token:
            told = {"name", "email"} & set(client.read(token).claims)
            assert told == ({"name", "email"} if response_type == "id_token" else set())


@pytest.mark.parametrize("response_type", ["id_token", "id_token token", "none"])
@pytest.mark.spec("OpenID Connect Core §11", "TK-12", "INV-09")
def test_offline_access_is_neither_asked_nor_given_when_no_code_is_issued(
    client: RelyingParty, response_type: str
) -> None:
    wanted = {"response_type": response_type, "scope": "openid email offline_access", "prompt": "consent"}
    assert "while you are away" not in client.open_page("/consent", client.authorize(**wanted)).text
    answer = client.answer(**wanted)
    if "access_token" in answer:
        assert set(client.read(answer["access_token"]).claims["scope"].split()) == {"openid", "email"}
        page = client.browser.get("/logout")
        client.submit(page, "/logout", decision="sign_out")
        assert client.userinfo(answer["access_token"]).status_code == 401


@pytest.mark.parametrize("response_type", WITH_ID_TOKEN)
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_error_is_sent_when_an_id_token_is_asked_for_without_the_scope_openid(
    client: RelyingParty, response_type: str
) -> None:
    answer = client.answer(response_type=response_type, scope="profile email")
    assert answer["error"] in {"invalid_scope", "invalid_request"}


# Errors travel as the answer would have ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [None, "form_post", "jwt", "form_post.jwt"])
@pytest.mark.parametrize("response_type", RESPONSE_TYPES)
@pytest.mark.spec("OpenID Connect Core §3.2.2.6", "OpenID Connect Core §3.3.2.6", "JARM §2.2", "AZ-15")
def test_error_travels_as_the_answer_would_have_when_the_request_fails(
    client: RelyingParty, response_type: str, mode: str | None
) -> None:
    kinds = {
        "login_required": client.authorize(response_type=response_type, response_mode=mode, prompt="none"),
        "invalid_request": client.authorize(response_type=response_type, response_mode=mode, max_age="x"),
        "access_denied": client.submit(
            client.open_page("/login", client.authorize(response_type=response_type, response_mode=mode)),
            "/login",
            decision="cancel",
        ),
    }
    for error, response in kinds.items():
        answer = answer_in(response)
        assert answer.mode == ("form_post" if "form_post" in (mode or "") else default_mode(response_type))
        found = unwrapped(client, answer)
        assert (found["error"], found["state"], found["iss"]) == (error, "a state", ISSUER)
        allowed = {"error", "error_description", "state", "iss", "session_state", "aud", "exp", "iat"}
        assert set(found) <= allowed


# Answers as signed tokens -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
@pytest.mark.spec("JARM §2.1", "JARM §2.2", "AZ-15")
def test_answer_is_a_token_for_this_client_when_it_is_asked_for_as_one(provider: Gatepost, algorithm: str) -> None:
    client = relying_party(provider, authorization_signed_response_alg=algorithm)
    read = client.read(client.answer(response_mode="jwt")["response"])
    assert read.headers[0]["alg"] == algorithm
    assert read.claims["iss"] == ISSUER
    assert read.claims["aud"] == client.client.id
    assert client.seconds() < read.claims["exp"] <= client.seconds() + 600
    assert client.redeem(read.claims["code"]).status_code == 200


@pytest.mark.parametrize(("alg", "enc"), [("RSA-OAEP-256", "A256GCM"), ("ECDH-ES", "A128CBC-HS256")])
@pytest.mark.parametrize("mode", ["query.jwt", "fragment.jwt", "form_post.jwt"])
@pytest.mark.spec("JARM §2.2", "JARM §2.3")
def test_answer_is_encrypted_when_the_client_registered_for_it(
    provider: Gatepost, alg: str, enc: str, mode: str
) -> None:
    metadata = {"authorization_encrypted_response_alg": alg, "authorization_encrypted_response_enc": enc}
    client = relying_party(provider, authorization_signed_response_alg="RS256", **metadata)
    for response_type in ("code", "none") if mode == "query.jwt" else RESPONSE_TYPES:
        answer = client.answer(response_type=response_type, response_mode=mode)
        assert set(answer.parameters) == {"response"}
        read = client.read(answer["response"])
        assert read.is_encrypted
        assert (read.headers[0]["alg"], read.headers[0]["enc"], read.headers[0].get("cty")) == (alg, enc, "JWT")
        assert ("access_token" in read.claims) is ("token" in response_type.split())
        assert read.claims["aud"] == client.client.id


@pytest.mark.spec("INV-05", "TK-19")
def test_answer_is_no_other_kind_of_token_when_it_is_presented_as_one(client: RelyingParty) -> None:
    response = client.answer(response_mode="jwt")["response"]
    assert client.userinfo(response).status_code == 401
    assert client.ask("/oauth/introspect", token=response).get_json() == {"active": False}
    hinted = answer_in(client.authorize(id_token_hint=response, prompt="none"))
    assert "error" in hinted
    refused = client.browser.get("/logout", query_string={"id_token_hint": response})
    assert "Location" not in refused.headers


@pytest.mark.spec("INV-05", "INV-22")
def test_id_token_is_no_access_token_when_it_came_from_the_authorization_endpoint(client: RelyingParty) -> None:
    answer = client.answer(response_type="code id_token token")
    assert client.userinfo(answer["id_token"]).status_code == 401
    assert client.userinfo(answer["code"]).status_code == 401
    assert client.redeem(answer["access_token"]).get_json()["error"] == "invalid_grant"


# Who gets them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response_type", IN_THE_FRAGMENT)
@pytest.mark.spec("AZ-23", "RFC 8252 §8.6")
def test_person_is_asked_each_time_when_any_program_on_the_device_could_take_the_tokens(
    provider: Gatepost, response_type: str
) -> None:
    """A secret proves the client where a code is redeemed, and nothing where the answer itself holds tokens."""
    uri = "http://127.0.0.1:9123/cb"
    client = relying_party(provider, application_type="native", redirect_uris=[uri])
    client.answer(response_type=response_type, scope="openid")
    silent = client.authorize(response_type=response_type, scope="openid", prompt="none")
    assert answer_in(silent)["error"] == "consent_required"


@pytest.mark.parametrize("uri", ["https://localhost/cb", "https://LOCALHOST:8443/cb", "https://127.0.0.1/cb"])
@pytest.mark.spec("OpenID Connect Registration §2", "TK-24")
def test_web_client_registers_no_address_of_the_persons_own_machine_when_tokens_would_be_sent_there(
    make_gatepost: GatepostMaker, uri: str
) -> None:
    gatepost = make_gatepost(registration="open", issuer="https://login.example")
    document = {"redirect_uris": [uri], "response_types": ["id_token token"], "grant_types": ["implicit"]}
    response = gatepost.browser().post("/oauth/register", json=document, base_url="https://login.example")
    assert response.status_code == 400
    assert response.get_json()["error"] in {"invalid_redirect_uri", "invalid_client_metadata"}


# The redirect URI's own query -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["query", "fragment", "query.jwt", "fragment.jwt"])
@pytest.mark.spec("RFC 6749 §3.1.2", "INV-19")
def test_registered_query_stays_when_the_answer_is_put_behind_it(provider: Gatepost, mode: str) -> None:
    uri = f"{CALLBACK}?tenant=a%20b&x="
    client = relying_party(provider, redirect_uris=[uri])
    location = client.walk(client.authorize(response_mode=mode)).headers["Location"]
    assert location.startswith(uri + ("#" if mode.startswith("fragment") else "&"))
