"""What may a client of this type do unless told otherwise? Each default is one we speak, and a safe one."""

from __future__ import annotations

import pytest

from server.domain.policy.client_metadata import AUTH_METHODS, CLIENT_TYPES, DEFAULTS, ClientType


def test_every_type_has_defaults() -> None:
    assert set(DEFAULTS) == set(CLIENT_TYPES)


@pytest.mark.parametrize("client_type", CLIENT_TYPES)
def test_defaults_hang_together(client_type: ClientType) -> None:
    defaults = DEFAULTS[client_type]
    assert defaults.token_endpoint_auth_method in AUTH_METHODS
    assert ("code" in defaults.response_types) is ("authorization_code" in defaults.grant_types)
    if defaults.token_endpoint_auth_method == "none":
        assert "client_credentials" not in defaults.grant_types
    if "client_credentials" in defaults.grant_types:
        assert defaults.scope == ""


@pytest.mark.spec("RFC 6749 §2.1")
@pytest.mark.parametrize("client_type", ["spa", "native", "device"])
def test_type_that_cannot_keep_a_secret_gets_none(client_type: ClientType) -> None:
    assert DEFAULTS[client_type].token_endpoint_auth_method == "none"
