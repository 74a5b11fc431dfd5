"""The two discovery documents, member by member. Each value is tried in `test_discovery_values.py` (INV-45)."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import flow_of

OPENID_CONFIGURATION = "/.well-known/openid-configuration"
OAUTH_METADATA = "/.well-known/oauth-authorization-server"


def document_of(gatepost: Gatepost, path: str = OPENID_CONFIGURATION) -> dict[str, Any]:
    response = gatepost.browser().get(gatepost.settings.issuer_path + path)
    assert response.status_code == 200
    document: dict[str, Any] = response.get_json()
    return document


SIGNING = ["RS256", "PS256", "ES256", "EdDSA"]
TO_CLIENTS = ["RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"]
FROM_CLIENTS = [algorithm for algorithm in TO_CLIENTS if algorithm != "RSA-OAEP"]
CONTENT = ["A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A256GCM"]
SECRETS = ["client_secret_basic", "client_secret_post"]
METHODS = [*SECRETS, "client_secret_jwt", "private_key_jwt"]


def protected(what: str, encryption: list[str]) -> dict[str, list[str]]:
    """The three members about one kind of token."""
    return {
        f"{what}_signing_alg_values_supported": SIGNING,
        f"{what}_encryption_alg_values_supported": encryption,
        f"{what}_encryption_enc_values_supported": CONTENT,
    }


@pytest.mark.parametrize("registration", ["off", "token", "open"])
@pytest.mark.spec("OpenID Connect Discovery §3", "RFC 8414 §2", "RFC 9101 §10.5", "JARM §4", "RFC 7591 §3")
def test_document_holds_these_members_and_no_others_when_read(make_gatepost: GatepostMaker, registration: str) -> None:
    gatepost = make_gatepost(registration=registration)
    oauth, openid = document_of(gatepost, OAUTH_METADATA), document_of(gatepost)
    named = {} if registration == "off" else {"registration_endpoint": f"{ISSUER}/oauth/register"}
    assert oauth == {
        **named,
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/oauth/authorize",
        "token_endpoint": f"{ISSUER}/oauth/token",
        "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
        "scopes_supported": ["openid", "profile", "email", "address", "phone", "offline_access"],
        "response_types_supported": [
            *("code", "code id_token", "code id_token token", "code token", "id_token", "id_token token", "none")
        ],
        "response_modes_supported": [
            *("query", "fragment", "form_post", "jwt", "query.jwt", "fragment.jwt", "form_post.jwt")
        ],
        "grant_types_supported": [
            *("authorization_code", "refresh_token", "client_credentials", "implicit"),
            "urn:ietf:params:oauth:grant-type:token-exchange",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
        ],
        "token_endpoint_auth_methods_supported": [*METHODS, "none"],
        "token_endpoint_auth_signing_alg_values_supported": [*SIGNING, "HS256"],
        "revocation_endpoint": f"{ISSUER}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": [*METHODS, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": [*SIGNING, "HS256"],
        "introspection_endpoint": f"{ISSUER}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": [*SIGNING, "HS256"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        **protected("authorization", TO_CLIENTS),
        **protected("request_object", FROM_CLIENTS),
        "request_parameter_supported": True,
        "request_uri_parameter_supported": True,
        "require_request_uri_registration": True,
    }
    assert {name: value for name, value in openid.items() if name not in oauth} == {
        "userinfo_endpoint": f"{ISSUER}/oauth/userinfo",
        "subject_types_supported": ["public", "pairwise"],
        **protected("id_token", TO_CLIENTS),
        **protected("userinfo", TO_CLIENTS),
        "acr_values_supported": ["1"],
        "claims_supported": openid["claims_supported"],
        "claims_parameter_supported": True,
        "end_session_endpoint": f"{ISSUER}/logout",
        "check_session_iframe": f"{ISSUER}/oauth/check-session",
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "frontchannel_logout_supported": True,
        "frontchannel_logout_session_supported": True,
    }
    assert {name: openid[name] for name in oauth} == oauth


@pytest.mark.spec("OpenID Connect Core §5.5.1.1")
def test_classes_of_authentication_are_those_that_a_sign_in_here_reaches_when_the_ladder_has_more(
    make_gatepost: GatepostMaker,
) -> None:
    gatepost = make_gatepost(acr_ladder={"bronze": ("pwd",), "silver": ("pwd", "otp")})
    assert document_of(gatepost)["acr_values_supported"] == ["bronze"]


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
    gatepost = make_gatepost(issuer=f"http://localhost:8000{path}", registration="open")
    document = document_of(gatepost)
    named = {name: url for name, url in document.items() if name.endswith(("_endpoint", "_uri", "_iframe"))}
    assert len(named) == 9
    for url in named.values():
        assert url.startswith(gatepost.settings.issuer)
        methods = {"GET", "POST"}
        statuses = {gatepost.browser().open(urlsplit(url).path, method=method).status_code for method in methods}
        assert 404 not in statuses
        assert statuses & {200, 303, 400, 401}
