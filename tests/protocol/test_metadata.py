"""Discovery tells exactly what works: each advertised value is used here, and others are refused (INV-45)."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from server.domain.claims import CLAIMS_OF_SCOPE, DEMO_CLAIMS
from server.domain.errors import Invalid
from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, answer_of, basic, flow_of, jwt_claims

OPENID_CONFIGURATION = "/.well-known/openid-configuration"
OAUTH_METADATA = "/.well-known/oauth-authorization-server"


def document_of(gatepost: Gatepost, path: str = OPENID_CONFIGURATION) -> dict[str, Any]:
    response = gatepost.browser().get(gatepost.settings.issuer_path + path)
    assert response.status_code == 200
    document: dict[str, Any] = response.get_json()
    return document


@pytest.mark.spec("OpenID Connect Discovery §3", "RFC 8414 §2")
def test_document_holds_these_members_and_no_others_when_read(gatepost: Gatepost) -> None:
    oauth, openid = document_of(gatepost, OAUTH_METADATA), document_of(gatepost)
    assert oauth == {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/oauth/authorize",
        "token_endpoint": f"{ISSUER}/oauth/token",
        "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
        "scopes_supported": ["openid", "profile", "email", "address", "phone", "offline_access"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "revocation_endpoint": f"{ISSUER}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "introspection_endpoint": f"{ISSUER}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
    assert {name: value for name, value in openid.items() if name not in oauth} == {
        "userinfo_endpoint": f"{ISSUER}/oauth/userinfo",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
        "acr_values_supported": ["1"],
        "claims_supported": openid["claims_supported"],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }
    assert {name: openid[name] for name in oauth} == oauth


def test_scopes_are_advertised_when_the_deployment_adds_some(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(scopes={"notes:read": "Read your notes"})
    assert "notes:read" in document_of(gatepost)["scopes_supported"]
    flow = flow_of(gatepost, scope="openid notes:read")
    page = flow.open_page("/consent", flow.authorize(scope="openid notes:read"))
    assert "Read your notes" in page.text
    assert flow.tokens(scope="openid notes:read")["scope"] == "openid notes:read"


# Every endpoint that is named is there ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/auth"])
def test_endpoint_is_there_when_the_document_names_it(make_gatepost: GatepostMaker, path: str) -> None:
    gatepost = make_gatepost(issuer=f"http://localhost:8000{path}")
    document = document_of(gatepost)
    named = {name: url for name, url in document.items() if name.endswith(("_endpoint", "_uri"))}
    assert len(named) == 6
    for url in named.values():
        assert url.startswith(gatepost.settings.issuer)
        methods = {"GET", "POST"}
        statuses = {gatepost.browser().open(urlsplit(url).path, method=method).status_code for method in methods}
        assert 404 not in statuses
        assert statuses & {200, 400, 401}


# Every value that is named works, and no other --------------------------------------------------------------------


def _scope(flow: Flow, value: str) -> bool:
    granted = flow.tokens(scope=f"openid {value}", prompt=None)["scope"].split()
    return value in granted


def _response_type(flow: Flow, value: str) -> bool:
    return "code" in answer_of(flow.walk(flow.authorize(response_type=value)).headers["Location"])


def _response_mode(flow: Flow, value: str) -> bool:
    response = flow.walk(flow.authorize(response_mode=value))
    if value == "form_post":
        return response.status_code == 200 and 'name="code"' in response.text
    return "code" in answer_of(response.headers.get("Location", ""))


def _grant_type(flow: Flow, value: str) -> bool:
    forms = {
        "authorization_code": lambda: flow.redeem(flow.code()),
        "refresh_token": lambda: flow.refresh(flow.tokens()["refresh_token"]),
    }
    response = forms.get(value, lambda: flow.post_token(grant_type=value))()
    if response.status_code != 200:
        assert response.get_json()["error"] == "unsupported_grant_type"
    return response.status_code == 200


def _challenge_method(flow: Flow, value: str) -> bool:
    return flow.authorize(code_challenge_method=value).headers["Location"].startswith("/")


def _acr(flow: Flow, value: str) -> bool:
    return jwt_claims(flow.tokens(acr_values=value)["id_token"])["acr"] == value


def _id_token_alg(flow: Flow, value: str) -> bool:
    try:
        client = flow_of(flow.gatepost, client_id=f"with-{value}", id_token_signed_response_alg=value)
    except Invalid:
        return False
    return bool(jwt_claims(client.tokens()["id_token"]))


def _subject_type(flow: Flow, value: str) -> bool:
    other = flow_of(flow.gatepost, client_id=f"other-{value}")
    subjects = {jwt_claims(each.tokens()["id_token"])["sub"] for each in (flow, other)}
    return (value == "public") is (len(subjects) == 1)


def _auth_method(endpoint: str) -> Callable[[Flow, str], bool]:
    def works(flow: Flow, value: str) -> bool:
        kind: Any = "spa" if value == "none" else "web"
        try:
            client = flow_of(flow.gatepost, kind, client_id=f"by-{value}", token_endpoint_auth_method=value)
        except Invalid:
            return False
        form: dict[str, str] = {"token": "x", "grant_type": "refresh_token", "refresh_token": "rt_x"}
        headers = {}
        if value == "client_secret_basic":
            headers = basic(client.client.id, client.secret or "")
        else:
            form["client_id"] = client.client.id
            if client.secret:
                form["client_secret"] = client.secret
        return flow.browser.post(endpoint, data=form, headers=headers).status_code != 401

    return works


USES: dict[str, tuple[Callable[[Flow, str], bool], tuple[str, ...]]] = {
    # member: (whether the value works, values that must not)
    "scopes_supported": (_scope, ("groups", "roles", "admin")),
    "response_types_supported": (_response_type, ("token", "id_token", "code id_token", "none")),
    "response_modes_supported": (_response_mode, ("fragment", "jwt", "query.jwt", "web_message")),
    "grant_types_supported": (
        _grant_type,
        (
            "password",
            "implicit",
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:ietf:params:oauth:grant-type:token-exchange",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "urn:openid:params:grant-type:ciba",
        ),
    ),
    "code_challenge_methods_supported": (_challenge_method, ("plain", "S512")),
    "acr_values_supported": (_acr, ("0", "2", "urn:mace:incommon:iap:silver")),
    "id_token_signing_alg_values_supported": (_id_token_alg, ("none", "HS256", "PS256", "RS384", "ES384", "Ed448")),
    "subject_types_supported": (_subject_type, ("pairwise",)),
    "token_endpoint_auth_methods_supported": (
        _auth_method("/oauth/token"),
        ("client_secret_jwt", "private_key_jwt", "tls_client_auth"),
    ),
    "revocation_endpoint_auth_methods_supported": (_auth_method("/oauth/revoke"), ("private_key_jwt",)),
    "introspection_endpoint_auth_methods_supported": (_auth_method("/oauth/introspect"), ("none", "private_key_jwt")),
}


def test_every_list_of_values_is_tried_when_one_is_added(gatepost: Gatepost) -> None:
    lists = {name for name, value in document_of(gatepost).items() if isinstance(value, list)}
    assert lists == {*USES, "claims_supported"}


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(
        gatepost,
        redirect_uris=("https://app.example/cb",),
        grant_types=("authorization_code", "refresh_token", "client_credentials"),
    )


@pytest.mark.parametrize("member", USES)
def test_value_works_when_it_is_advertised_and_is_refused_when_it_is_not(flow: Flow, member: str) -> None:
    works, others = USES[member]
    for value in document_of(flow.gatepost)[member]:
        assert works(flow, value), value
    for value in others:
        assert not works(flow, value), value


def test_claims_are_told_when_they_are_advertised_and_no_others(flow: Flow) -> None:
    flow.gatepost.change_user(flow.email, claims=DEMO_CLAIMS)
    tokens = flow.tokens(scope="openid profile email address phone")
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    told = {*jwt_claims(tokens["id_token"]), *flow.browser.get("/oauth/userinfo", headers=headers).get_json()}
    advertised = document_of(flow.gatepost)["claims_supported"]
    assert set(advertised) == told
    assert len(advertised) == len(set(advertised))
    assert {name for names in CLAIMS_OF_SCOPE.values() for name in names} < told


@pytest.mark.parametrize(
    ("member", "changes", "error"),
    [
        ("request_parameter_supported", {"request": "e30.e30."}, "request_not_supported"),
        ("request_uri_parameter_supported", {"request_uri": "urn:x"}, "request_uri_not_supported"),
    ],
)
@pytest.mark.spec("OpenID Connect Core §6.1", "OpenID Connect Core §6.2")
def test_parameter_is_refused_when_the_document_says_it_is_not_supported(
    flow: Flow, member: str, changes: dict[str, str], error: str
) -> None:
    assert document_of(flow.gatepost)[member] is False
    assert answer_of(flow.authorize(**changes).headers["Location"])["error"] == error


def test_claims_parameter_changes_nothing_when_sent(flow: Flow) -> None:
    assert document_of(flow.gatepost)["claims_parameter_supported"] is False
    claims = '{"id_token":{"phone_number":{"essential":true}},"userinfo":{"phone_number":null}}'
    assert "phone_number" not in jwt_claims(flow.tokens(scope="openid", claims=claims)["id_token"])
