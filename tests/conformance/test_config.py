"""The one module of the Config plan, which the Dynamic plan runs too: what the discovery document says.

Plans: `oidcc-config-certification-test-plan`, `oidcc-dynamic-certification-test-plan`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conformance import checks
from tests.conformance.suite import Provider

#: Everything that RFC 8414, OpenID Connect and their extensions have registered; any other member is a warning.
REGISTERED_MEMBERS = {
    *("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "registration_endpoint", "scopes_supported"),
    *("response_types_supported", "response_modes_supported", "grant_types_supported", "service_documentation"),
    *("token_endpoint_auth_methods_supported", "token_endpoint_auth_signing_alg_values_supported"),
    *("ui_locales_supported", "op_policy_uri", "op_tos_uri", "code_challenge_methods_supported", "signed_metadata"),
    *("revocation_endpoint", "revocation_endpoint_auth_methods_supported"),
    *("revocation_endpoint_auth_signing_alg_values_supported", "introspection_endpoint"),
    *("introspection_endpoint_auth_methods_supported", "introspection_endpoint_auth_signing_alg_values_supported"),
    *("introspection_signing_alg_values_supported", "introspection_encryption_alg_values_supported"),
    *("introspection_encryption_enc_values_supported", "userinfo_endpoint", "acr_values_supported"),
    *("subject_types_supported", "id_token_signing_alg_values_supported"),
    *("id_token_encryption_alg_values_supported", "id_token_encryption_enc_values_supported"),
    *("userinfo_signing_alg_values_supported", "userinfo_encryption_alg_values_supported"),
    *("userinfo_encryption_enc_values_supported", "request_object_signing_alg_values_supported"),
    *("request_object_encryption_alg_values_supported", "request_object_encryption_enc_values_supported"),
    *("display_values_supported", "claim_types_supported", "claims_supported", "claims_locales_supported"),
    *("claims_parameter_supported", "request_parameter_supported", "request_uri_parameter_supported"),
    *("require_request_uri_registration", "prompt_values_supported", "check_session_iframe", "end_session_endpoint"),
    *("frontchannel_logout_supported", "frontchannel_logout_session_supported"),
    *("backchannel_logout_supported", "backchannel_logout_session_supported"),
    *("tls_client_certificate_bound_access_tokens", "mtls_endpoint_aliases", "require_signed_request_object"),
    *("pushed_authorization_request_endpoint", "require_pushed_authorization_requests"),
    *("authorization_response_iss_parameter_supported", "authorization_details_types_supported"),
    *("dpop_signing_alg_values_supported", "authorization_signing_alg_values_supported"),
    *("authorization_encryption_alg_values_supported", "authorization_encryption_enc_values_supported"),
    *("device_authorization_endpoint", "backchannel_authentication_endpoint"),
    *("backchannel_token_delivery_modes_supported", "backchannel_user_code_parameter_supported"),
    "backchannel_authentication_request_signing_alg_values_supported",
}
SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|\d{3}))?")


@pytest.mark.spec("OpenID Connect Discovery §3", "OpenID Connect Discovery §4.3", "RFC 8414 §2")
def test_oidcc_discovery_endpoint_verification(op: Provider) -> None:
    metadata = op.metadata
    checks.check_https(metadata["issuer"])
    assert "?" not in metadata["issuer"]
    assert "@" not in metadata["issuer"]
    assert set(metadata) <= REGISTERED_MEMBERS, set(metadata) - REGISTERED_MEMBERS
    check_types(metadata)
    check_endpoints(metadata)
    check_values(metadata)
    op.keys()


def check_types(metadata: Mapping[str, Any]) -> None:
    """Lists hold strings, and one at least; switches are booleans; endpoints are URLs."""
    for name, value in metadata.items():
        if name.endswith(("_supported", "_registration", "_requests", "_tokens", "_object")):
            if name.endswith(("parameter_supported", "logout_supported", "session_supported")) or value in (
                True,
                False,
            ):
                assert isinstance(value, bool), name
            else:
                assert isinstance(value, list), name
                assert value, name
                assert all(isinstance(each, str) and each for each in value), name
                assert len(set(value)) == len(value), name
        else:
            assert isinstance(value, str), name


def check_endpoints(metadata: Mapping[str, Any]) -> None:
    """Every endpoint is an https URL, and those that the plans need are there."""
    found = {name: value for name, value in metadata.items() if name.endswith(("_endpoint", "_uri", "_iframe"))}
    assert {"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"} <= set(found)
    assert "registration_endpoint" in found
    for url in found.values():
        checks.check_https(url)


def check_values(metadata: Mapping[str, Any]) -> None:
    """What the Dynamic plan wants to find, and nothing that is malformed."""
    assert {"code", "id_token", "id_token token"} <= set(metadata["response_types_supported"])
    assert {"authorization_code", "implicit"} <= set(metadata["grant_types_supported"])
    assert {"public", "pairwise"} & set(metadata["subject_types_supported"])
    assert "RS256" in metadata["id_token_signing_alg_values_supported"]
    assert "none" not in metadata["id_token_signing_alg_values_supported"]
    assert "RS256" in metadata["userinfo_signing_alg_values_supported"]
    assert "RS256" in metadata["request_object_signing_alg_values_supported"]
    assert "S256" in metadata["code_challenge_methods_supported"]
    assert "private_key_jwt" in metadata["token_endpoint_auth_methods_supported"]
    assert "RS256" in metadata["token_endpoint_auth_signing_alg_values_supported"]
    assert "openid" in metadata["scopes_supported"]
    assert all(SCOPE_TOKEN.fullmatch(scope) for scope in metadata["scopes_supported"])
    assert {"sub", "iss", "name", "email"} <= set(metadata["claims_supported"])
    for name in ("ui_locales_supported", "claims_locales_supported"):
        assert all(LANGUAGE.fullmatch(tag) for tag in metadata.get(name, ())), name
    for name in ("request_parameter_supported", "request_uri_parameter_supported", "claims_parameter_supported"):
        assert metadata[name] is True, name


@pytest.mark.spec("OpenID Connect Discovery §4.3")
def test_issuer_of_a_path_has_its_discovery_document_below_it(op: Provider) -> None:
    """The suite is given the document's URL and takes the well-known part off to get the issuer."""
    url = f"{op.issuer}/.well-known/openid-configuration"
    response = op.http("GET", url)
    assert url.removesuffix("/.well-known/openid-configuration") == response.get_json()["issuer"]
