"""INV-45, value by value: what discovery lists works, what it does not list is refused.

Every client here registers itself over HTTP with the value that is tried, and then uses it; nothing looks behind the
endpoints. `OTHERS` are values that exist elsewhere: registered in a specification, offered by other servers, or weak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from server.domain.claims import CLAIMS_OF_SCOPE, DEMO_CLAIMS
from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import answer_of, flow_of
from tests.support.gateway import Gateway
from tests.support.makers import Makers
from tests.support.relying_party import (
    ASSERTION_TYPE,
    SIGNING_ALGORITHMS,
    RelyingParty,
    encrypted_to_server,
    party_of,
    register,
    relying_party,
)
from tests.support.stored_pages import StoredPages

Works = Callable[[Gatepost, str], bool]
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def document_of(gatepost: Gatepost) -> dict[str, Any]:
    document: dict[str, Any] = gatepost.browser().get("/.well-known/openid-configuration").get_json()
    return document


def registered(gatepost: Gatepost, **metadata: Any) -> RelyingParty | None:
    """The client, or None when its metadata is refused as RFC 7591 §3.2.2 says."""
    response = register(gatepost, **metadata)
    if response.status_code == 201:
        for name, value in metadata.items():
            assert response.get_json()[name] == value, f"{name} was replaced and not refused"
        return party_of(gatepost, response)
    assert response.status_code == 400, response.text
    assert response.get_json()["error"] in {"invalid_client_metadata", "invalid_redirect_uri"}
    return None


def _response_type(gatepost: Gatepost, value: str) -> bool:
    client = registered(gatepost, response_types=[value])
    if client is None:
        answer = relying_party(gatepost).authorize(response_type=value)
        return answer.headers.get("Location", "").startswith("/")
    answer = client.answer(response_type=value)
    names = {"code": "code", "id_token": "id_token", "token": "access_token"}
    return set(names.values()) & set(answer.parameters) == {names[name] for name in value.split() if name != "none"}


def _response_mode(gatepost: Gatepost, value: str) -> bool:
    client = relying_party(gatepost)
    response = client.authorize(response_mode=value)
    if not response.headers.get("Location", "").startswith("/"):
        return False
    answer = client.answer(response_mode=value)
    carrier, _, form = value.rpartition(".")
    if form != "jwt":
        return answer.mode == value and "code" in answer
    return answer.mode == (carrier or "query") and "code" in client.read(answer["response"]).claims


def _grant_type(gatepost: Gatepost, value: str) -> bool:
    if value == "client_credentials":
        return flow_of(gatepost, "machine").post_token(grant_type=value).status_code == 200
    if value == TOKEN_EXCHANGE:
        _, key = Gateway(gatepost).key("notes:read")
        form = {"subject_token": key, "subject_token_type": "urn:gatepost:params:oauth:token-type:api_key"}
        return gatepost.browser().post("/oauth/token", data={"grant_type": value, **form}).status_code == 200
    if value == JWT_BEARER:
        # Which clients may make tokens the operator decides, not they themselves.
        makers = Makers(gatepost, scope="notes:read")
        form = {"grant_type": value, "assertion": makers.token(aud=ISSUER)}
        return gatepost.browser().post("/oauth/token", data=form).status_code == 200
    client = relying_party(gatepost)
    if value == "authorization_code":
        return client.redeem(client.code()).status_code == 200
    if value == "refresh_token":
        token = client.tokens(scope="openid offline_access", prompt="consent")["refresh_token"]
        return client.refresh(token).status_code == 200
    if value == "implicit":
        return "access_token" in client.answer(response_type="id_token token")
    told = client.post_token(grant_type=value).get_json()["error"]
    return told != "unsupported_grant_type" or registered(gatepost, grant_types=[value]) is not None


def _scope(gatepost: Gatepost, value: str) -> bool:
    response = register(gatepost, scope=f"openid {value}")
    if response.status_code != 201 or value not in response.get_json()["scope"].split():
        tokens = relying_party(gatepost).tokens(scope=f"openid {value}", prompt="consent")
    else:
        tokens = party_of(gatepost, response).tokens(scope=f"openid {value}", prompt="consent")
    return value in tokens.get("scope", f"openid {value}").split()


def _challenge_method(gatepost: Gatepost, value: str) -> bool:
    return relying_party(gatepost).authorize(code_challenge_method=value).headers["Location"].startswith("/")


def _acr(gatepost: Gatepost, value: str) -> bool:
    client = relying_party(gatepost)
    return bool(client.read(client.tokens(acr_values=value)["id_token"]).claims["acr"] == value)


def _subject_type(gatepost: Gatepost, value: str) -> bool:
    uris = ("https://one.example/cb", "https://two.example/cb")
    clients = [registered(gatepost, subject_type=value, redirect_uris=[uri]) for uri in uris]
    if None in clients:
        return False
    subjects = {each.read(each.tokens()["id_token"]).claims["sub"] for each in clients if each}
    return len(subjects) == (1 if value == "public" else 2)


def _prompt(gatepost: Gatepost, value: str) -> bool:
    client = relying_party(gatepost)
    client.tokens()
    response = client.authorize(prompt=value)
    if value == "none":
        return "code" in client.answer(prompt="none")
    location = response.headers["Location"]
    return location.startswith("/") and "code" in client.answer(prompt=value)


def _page(name: str) -> Works:
    def works(gatepost: Gatepost, value: str) -> bool:
        client = relying_party(gatepost)
        page = client.open_page("/login", client.authorize(**{name: value}))
        return page.status_code == 200 and (name != "ui_locales" or f'lang="{value}"' in page.text)

    return works


def _claims_locale(gatepost: Gatepost, value: str) -> bool:
    return "code" in relying_party(gatepost).answer(claims_locales=value)


def _auth_method(path: str) -> Works:
    def works(gatepost: Gatepost, value: str) -> bool:
        client = registered(gatepost, token_endpoint_auth_method=value)
        return client is not None and _is_known(client, path)

    return works


def _is_known(client: RelyingParty, path: str, **form: str) -> bool:
    """Whether the endpoint took the client for itself; everything else in the request is wrong on purpose."""
    response = client.ask(path, token="rt_x", grant_type="refresh_token", refresh_token="rt_x", **form)
    return response.status_code != 401 and (response.get_json(silent=True) or {}).get("error") != "invalid_client"


def _auth_alg(path: str) -> Works:
    def works(gatepost: Gatepost, value: str) -> bool:
        method = "client_secret_jwt" if value.startswith("HS") else "private_key_jwt"
        client = registered(gatepost, token_endpoint_auth_method=method, token_endpoint_auth_signing_alg=value)
        if client is not None:
            proof = client.assertion(value)
            return _is_known(client, path, client_assertion=proof, client_assertion_type=ASSERTION_TYPE)
        if value not in _SIGNABLE:
            return False
        client = relying_party(gatepost, token_endpoint_auth_method=method)
        proof = client.assertion(value)
        return _is_known(client, path, client_assertion=proof, client_assertion_type=ASSERTION_TYPE)

    return works


#: What the test's own library signs without asking; the others are refused at registration alone.
_SIGNABLE = ("HS256", "HS384", "HS512", *SIGNING_ALGORITHMS)


def _token_of(client: RelyingParty, place: str) -> str:
    """A token of the kind that `place` is about: `id_token`, `userinfo` or `authorization`."""
    if place == "authorization":
        return client.answer(response_mode="jwt")["response"]
    tokens = client.tokens()
    if place == "id_token":
        return str(tokens["id_token"])
    answer = client.userinfo(tokens["access_token"])
    assert answer.mimetype == "application/jwt"
    return answer.text


def _signs(place: str) -> Works:
    member = "authorization_signed_response_alg" if place == "authorization" else f"{place}_signed_response_alg"

    def works(gatepost: Gatepost, value: str) -> bool:
        client = registered(gatepost, **{member: value})
        return client is not None and client.read(_token_of(client, place)).headers[-1]["alg"] == value

    return works


def _encrypts(place: str, part: str) -> Works:
    def works(gatepost: Gatepost, value: str) -> bool:
        metadata = {f"{place}_encrypted_response_{part}": value, f"{place}_signed_response_alg": "RS256"}
        if part == "enc":
            metadata[f"{place}_encrypted_response_alg"] = "ECDH-ES"
        client = registered(gatepost, **metadata)
        if client is None:
            return False
        read = client.read(_token_of(client, place))
        return read.is_encrypted and read.headers[0][part] == value and bool(read.claims["aud"])

    return works


def _request_object_alg(gatepost: Gatepost, value: str) -> bool:
    client = registered(gatepost, request_object_signing_alg=value)
    if client is None and value not in SIGNING_ALGORITHMS:
        return False
    client = client or relying_party(gatepost)
    return client.send(client.by_reference(client.request_object(value))).headers["Location"].startswith("/")


def _request_object_encryption(part: str) -> Works:
    def works(gatepost: Gatepost, value: str) -> bool:
        metadata = {f"request_object_encryption_{part}": value, "request_object_signing_alg": "RS256"}
        if part == "enc":
            metadata["request_object_encryption_alg"] = "ECDH-ES"
        client = registered(gatepost, **metadata)
        if client is None:
            return False
        alg, enc = (value, "A128CBC-HS256") if part == "alg" else ("ECDH-ES", value)
        sealed = encrypted_to_server(gatepost, client.request_object(), alg, enc)
        return client.send(client.by_reference(sealed)).headers["Location"].startswith("/")

    return works


OTHER_SIGNATURES = ("none", "HS256", "HS384", "RS384", "RS512", "PS384", "PS512", "ES384", "ES512", "ES256K", "RS1")
OTHER_KEY_WRAPS = ("RSA1_5", "dir", "A128KW", "A256GCMKW", "PBES2-HS256+A128KW", "ECDH-ES+A192KW", "ECDH-1PU", "none")
OTHER_CIPHERS = ("A192CBC-HS384", "A192GCM", "C20P", "XC20P", "A128CBC+HS256", "none")
OTHER_GRANTS = (
    "password",
    "token",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:saml2-bearer",
    "urn:openid:params:grant-type:ciba",
)
OTHER_METHODS = ("tls_client_auth", "self_signed_tls_client_auth", "attest_jwt_client_auth", "client_secret")
OTHER_ASSERTIONS = ("none", "HS384", "HS512", "RS384", "PS512", "ES384", "ES256K")

USES: dict[str, tuple[Works, tuple[str, ...]]] = {
    # member: (whether the value works, values that must not)
    "scopes_supported": (_scope, ("groups", "roles", "admin", "notes:write")),
    "response_types_supported": (
        _response_type,
        ("token", "code none", "id_token none", "code token none", "device", "vp_token", "code code"),
    ),
    "response_modes_supported": (_response_mode, ("web_message", "cookie", "body", "jwt.query", "direct_post")),
    "grant_types_supported": (_grant_type, OTHER_GRANTS),
    "acr_values_supported": (_acr, ("0", "2", "urn:mace:incommon:iap:silver", "phr")),
    "subject_types_supported": (_subject_type, ("ephemeral", "transient", "Public")),
    "prompt_values_supported": (_prompt, ("create", "admin_consent", "Login")),
    "display_values_supported": (_page("display"), ()),
    "ui_locales_supported": (_page("ui_locales"), ("se", "tlh")),
    "claims_locales_supported": (_claims_locale, ()),
    "code_challenge_methods_supported": (_challenge_method, ("plain", "S512", "s256")),
    "token_endpoint_auth_methods_supported": (_auth_method("/oauth/token"), OTHER_METHODS),
    "token_endpoint_auth_signing_alg_values_supported": (_auth_alg("/oauth/token"), OTHER_ASSERTIONS),
    "revocation_endpoint_auth_methods_supported": (_auth_method("/oauth/revoke"), OTHER_METHODS),
    "revocation_endpoint_auth_signing_alg_values_supported": (_auth_alg("/oauth/revoke"), OTHER_ASSERTIONS),
    "introspection_endpoint_auth_methods_supported": (_auth_method("/oauth/introspect"), ("none", *OTHER_METHODS)),
    "introspection_endpoint_auth_signing_alg_values_supported": (_auth_alg("/oauth/introspect"), OTHER_ASSERTIONS),
    "id_token_signing_alg_values_supported": (_signs("id_token"), OTHER_SIGNATURES),
    "id_token_encryption_alg_values_supported": (_encrypts("id_token", "alg"), OTHER_KEY_WRAPS),
    "id_token_encryption_enc_values_supported": (_encrypts("id_token", "enc"), OTHER_CIPHERS),
    "userinfo_signing_alg_values_supported": (_signs("userinfo"), OTHER_SIGNATURES),
    "userinfo_encryption_alg_values_supported": (_encrypts("userinfo", "alg"), OTHER_KEY_WRAPS),
    "userinfo_encryption_enc_values_supported": (_encrypts("userinfo", "enc"), OTHER_CIPHERS),
    "authorization_signing_alg_values_supported": (_signs("authorization"), OTHER_SIGNATURES),
    "authorization_encryption_alg_values_supported": (_encrypts("authorization", "alg"), OTHER_KEY_WRAPS),
    "authorization_encryption_enc_values_supported": (_encrypts("authorization", "enc"), OTHER_CIPHERS),
    "request_object_signing_alg_values_supported": (_request_object_alg, OTHER_SIGNATURES),
    "request_object_encryption_alg_values_supported": (
        _request_object_encryption("alg"),
        ("RSA-OAEP", *OTHER_KEY_WRAPS),
    ),
    "request_object_encryption_enc_values_supported": (_request_object_encryption("enc"), OTHER_CIPHERS),
}
#: Lists that have a test of their own below.
TRIED_BELOW = {"claims_supported", "claim_types_supported"}


@pytest.fixture
def provider(make_gatepost: GatepostMaker) -> Iterator[Gatepost]:
    """A deployment where anybody registers, and the pages of the relying parties' servers."""
    gatepost = make_gatepost(
        registration="open", registration_per_hour=10_000, scopes={"notes:read": "Read your notes"}
    )
    StoredPages().put_into(gatepost)
    return gatepost


def test_every_list_of_values_is_tried_when_one_is_added(provider: Gatepost) -> None:
    lists = {name for name, value in document_of(provider).items() if isinstance(value, list)}
    assert lists <= {*USES, *TRIED_BELOW}
    assert {name for name in USES if name not in lists} <= {
        "prompt_values_supported",
        "display_values_supported",
        "ui_locales_supported",
        "claims_locales_supported",
    }


@pytest.mark.timeout(240)
@pytest.mark.parametrize("member", USES)
@pytest.mark.spec("INV-45", "TK-26", "OpenID Connect Discovery §3", "RFC 8414 §2")
def test_value_works_when_it_is_advertised_and_is_refused_when_it_is_not(provider: Gatepost, member: str) -> None:
    works, others = USES[member]
    advertised = document_of(provider).get(member, [])
    assert len(advertised) == len(set(advertised))
    for value in advertised:
        assert works(provider, value), value
    for value in set(others) - set(advertised):
        assert not works(provider, value), value


@pytest.mark.spec("RFC 8414 §7.1")
def test_member_names_are_registered_ones_when_the_document_is_read(provider: Gatepost) -> None:
    plain = {"issuer", "jwks_uri", "check_session_iframe", "service_documentation", "op_policy_uri", "op_tos_uri"}
    endpoints = {"authorization", "token", "userinfo", "registration", "revocation", "introspection", "end_session"}
    known = {*USES, *TRIED_BELOW, *FLAGS, *plain, *(f"{name}_endpoint" for name in endpoints)}
    assert set(document_of(provider)) <= known


def test_every_response_type_and_mode_is_advertised_when_clients_may_ask_for_them(provider: Gatepost) -> None:
    """What the certification plans ask for; the values themselves are tried above."""
    document = document_of(provider)
    wanted = {"code", "id_token", "id_token token", "code id_token", "code token", "code id_token token", "none"}
    assert set(document["response_types_supported"]) == wanted
    modes = {"query", "fragment", "form_post", "jwt", "query.jwt", "fragment.jwt", "form_post.jwt"}
    assert set(document["response_modes_supported"]) == modes
    assert {"authorization_code", "implicit", "refresh_token"} <= set(document["grant_types_supported"])
    assert {"private_key_jwt", "client_secret_jwt"} <= set(document["token_endpoint_auth_methods_supported"])
    assert set(document["subject_types_supported"]) == {"public", "pairwise"}
    for place in ("id_token", "userinfo", "request_object", "authorization"):
        assert set(document[f"{place}_signing_alg_values_supported"]) == set(SIGNING_ALGORITHMS), place


# Endpoints and what is said with yes or no ------------------------------------------------------------------------


@pytest.mark.spec("INV-45", "TK-26")
def test_endpoint_is_there_when_it_is_named_and_is_not_when_it_is_not(provider: Gatepost) -> None:
    document = document_of(provider)
    named = {name: url for name, url in document.items() if name.endswith(("_endpoint", "_uri", "_iframe"))}
    assert {"registration_endpoint", "end_session_endpoint", "check_session_iframe"} < set(named)
    for name, url in named.items():
        assert url.startswith(f"{ISSUER}/"), name
        statuses = {
            provider.browser().open(urlsplit(url).path, method=method).status_code for method in ("GET", "POST")
        }
        assert 404 not in statuses, name
        assert statuses & {200, 303, 400, 401}, name
    for path in ("par", "device", "device_authorization", "ciba", "bc-authorize", "pushed", "grants", "federation"):
        assert provider.browser().post(f"/oauth/{path}").status_code == 404


@pytest.mark.spec("INV-45", "TK-26", "RFC 7591 §3")
def test_registration_is_not_named_when_it_is_off(gatepost: Gatepost) -> None:
    assert "registration_endpoint" not in document_of(gatepost)
    assert register(gatepost).status_code in {403, 404}


def _claims_parameter(gatepost: Gatepost) -> bool:
    client = relying_party(gatepost, scope="openid phone")
    gatepost.change_user(client.email, claims=DEMO_CLAIMS)
    tokens = client.tokens(scope="openid", claims='{"userinfo":{"phone_number":null}}')
    return "phone_number" in client.userinfo(tokens["access_token"]).get_json()


def _request_parameter(gatepost: Gatepost) -> bool:
    client = relying_party(gatepost)
    return "code" in answer_of(client.walk(client.send(client.by_reference(client.request_object()))).location or "")


def _request_uri(gatepost: Gatepost, *, is_registered: bool = True) -> bool:
    uri = "https://app.example/request.jwt"
    client = relying_party(gatepost, request_uris=[uri] if is_registered else [f"{uri}#other"])
    pages = StoredPages({uri: client.request_object()}).put_into(gatepost)
    response = client.walk(
        client.send({"client_id": client.client.id, "response_type": "code", "scope": "openid", "request_uri": uri})
    )
    assert bool(pages.asked) is is_registered, "what is not registered is not fetched"
    return "code" in answer_of(response.headers.get("Location", ""))


def _iss_parameter(gatepost: Gatepost) -> bool:
    return relying_party(gatepost).answer()["iss"] == ISSUER


def _logout(gatepost: Gatepost, member: str) -> str:
    """The client's page in the sign-out of somebody who used it."""
    client = relying_party(gatepost, **{f"{member}_uri": "https://app.example/out", f"{member}_session_required": True})
    hint = client.tokens()["id_token"]
    parameters = {"id_token_hint": hint, "client_id": client.client.id}
    return client.walk(client.browser.get("/logout", query_string=parameters)).text


def _frontchannel(gatepost: Gatepost) -> bool:
    page = _logout(gatepost, "frontchannel_logout")
    return "https://app.example/out?" in page and "sid=" in page and "iss=" in page


def _backchannel(gatepost: Gatepost) -> bool:
    _logout(gatepost, "backchannel_logout")
    with gatepost.work() as work:
        return work.db.connection().exec_driver_sql("SELECT COUNT(*) FROM outbox").scalar_one() == 1


FLAGS: dict[str, Callable[[Gatepost], bool]] = {
    "claims_parameter_supported": _claims_parameter,
    "request_parameter_supported": _request_parameter,
    "request_uri_parameter_supported": _request_uri,
    "require_request_uri_registration": lambda gatepost: not _request_uri(gatepost, is_registered=False),
    "authorization_response_iss_parameter_supported": _iss_parameter,
    "frontchannel_logout_supported": _frontchannel,
    "frontchannel_logout_session_supported": _frontchannel,
    "backchannel_logout_supported": _backchannel,
    "backchannel_logout_session_supported": _backchannel,
}


def test_every_yes_and_no_is_tried_when_one_is_added(provider: Gatepost) -> None:
    assert {name for name, value in document_of(provider).items() if isinstance(value, bool)} == set(FLAGS)


@pytest.mark.parametrize("member", FLAGS)
@pytest.mark.spec("INV-45", "TK-26", "OpenID Connect Discovery §3")
def test_feature_works_when_the_document_says_so(provider: Gatepost, member: str) -> None:
    assert document_of(provider)[member] is FLAGS[member](provider)


# Claims -----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("INV-45", "TK-26", "OpenID Connect Discovery §3")
def test_claims_are_told_when_they_are_advertised_and_no_others(provider: Gatepost) -> None:
    client = relying_party(provider)
    provider.change_user(client.email, claims=DEMO_CLAIMS)
    scope = "openid profile email address phone"
    answer = client.answer(scope=scope, response_type="code id_token token")
    tokens = client.redeem(answer["code"]).get_json()
    whole = client.answer(scope=scope, response_type="id_token")
    told = set(client.userinfo(tokens["access_token"]).get_json())
    for token in (answer["id_token"], tokens["id_token"], whole["id_token"]):
        told |= set(client.read(token).claims)
    advertised = document_of(provider)["claims_supported"]
    assert len(advertised) == len(set(advertised))
    assert set(advertised) == told
    assert {name for names in CLAIMS_OF_SCOPE.values() for name in names} < told


def test_claims_are_normal_ones_when_userinfo_tells_them(provider: Gatepost) -> None:
    assert document_of(provider).get("claim_types_supported", ["normal"]) == ["normal"]
    client = relying_party(provider)
    told = client.userinfo(client.tokens()["access_token"]).get_json()
    assert not {"_claim_names", "_claim_sources"} & set(told)
