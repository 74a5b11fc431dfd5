"""What may a client of this type do unless told otherwise? Each default is one we speak, and a safe one."""

from __future__ import annotations

import pytest

from server.domain.policy.client_metadata import (
    AUTH_METHODS,
    CLIENT_TYPES,
    DEFAULTS,
    GRANT_TYPES,
    MEMBERS,
    OWN_MEMBERS,
    RESPONSE_TYPES,
    ClientType,
    grant_types_for,
    in_order,
    response_types_for,
)


def test_every_type_has_defaults() -> None:
    assert set(DEFAULTS) == set(CLIENT_TYPES)


@pytest.mark.parametrize("client_type", CLIENT_TYPES)
def test_defaults_hang_together(client_type: ClientType) -> None:
    defaults = DEFAULTS[client_type]
    assert defaults.token_endpoint_auth_method in AUTH_METHODS
    assert set(defaults.grant_types) <= set(GRANT_TYPES)
    assert grant_types_for(response_types_for(defaults.grant_types)) <= set(defaults.grant_types)
    if defaults.token_endpoint_auth_method == "none":
        assert "client_credentials" not in defaults.grant_types
    if "client_credentials" in defaults.grant_types:
        assert defaults.scope == ""


@pytest.mark.spec("RFC 6749 §2.1")
@pytest.mark.parametrize("client_type", ["spa", "native", "device"])
def test_type_that_cannot_keep_a_secret_gets_none(client_type: ClientType) -> None:
    assert DEFAULTS[client_type].token_endpoint_auth_method == "none"


@pytest.mark.spec("RFC 7591 §2.1", "OpenID Connect Registration §2")
@pytest.mark.parametrize(
    ("response_type", "grant_types"),
    [
        ("code", {"authorization_code"}),
        ("id_token", {"implicit"}),
        ("id_token token", {"implicit"}),
        ("code id_token", {"authorization_code", "implicit"}),
        ("code token", {"authorization_code", "implicit"}),
        ("code id_token token", {"authorization_code", "implicit"}),
        ("none", set()),
    ],
)
def test_response_type_needs_the_grant_types_of_its_words(response_type: str, grant_types: set[str]) -> None:
    assert response_type in RESPONSE_TYPES
    assert grant_types_for([response_type]) == grant_types


@pytest.mark.spec("RFC 6749 §3.1.1")
def test_order_of_words_means_nothing() -> None:
    assert in_order("token id_token  code") == "code id_token token"
    assert all(in_order(response_type) == response_type for response_type in RESPONSE_TYPES)


def test_no_member_is_said_by_client_and_operator_both() -> None:
    assert not set(MEMBERS) & set(OWN_MEMBERS)
