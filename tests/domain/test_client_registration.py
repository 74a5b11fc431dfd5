"""Registering a client: safe defaults for each type, and all that was asked for in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from server.domain.audit_events import AuditEvent
from server.domain.client_registration import (
    ClientMetadata,
    create_client,
    describe,
    describe_registration,
)
from server.domain.policy.client_metadata import CLIENT_TYPES, MEMBERS, OWN_MEMBERS, ClientType
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import REDIRECT_URI, last_audited, make_client
from tests.support.application import Gatepost

CODE = ["authorization_code", "refresh_token"]
SIGN_IN = "openid email offline_access profile"
EVERYTHING_ELSE: dict[str, Any] = {
    "response_types": ("code",),
    "logo_uri": "https://app.example.com/logo.png",
    "contacts": ("ops@example.com",),
    "jwks_uri": "https://app.example.com/jwks.json",
    "subject_type": "pairwise",
    "sector_identifier_uri": "https://sector.example.com/uris.json",
    "id_token_encrypted_response_alg": "RSA-OAEP",
    "id_token_encrypted_response_enc": "A256GCM",
    "userinfo_signed_response_alg": "PS256",
    "userinfo_encrypted_response_alg": "ECDH-ES",
    "userinfo_encrypted_response_enc": "A128GCM",
    "request_object_signing_alg": "EdDSA",
    "request_object_encryption_alg": "RSA-OAEP-256",
    "request_object_encryption_enc": "A128CBC-HS256",
    "authorization_signed_response_alg": "ES256",
    "authorization_encrypted_response_alg": "ECDH-ES+A256KW",
    "authorization_encrypted_response_enc": "A256CBC-HS512",
    "request_uris": ("https://app.example.com/request.jwt#abc",),
    "default_max_age": 3600,
    "require_auth_time": True,
    "default_acr_values": ("1",),
    "initiate_login_uri": "https://app.example.com/start",
    "backchannel_logout_uri": "https://app.example.com/backchannel",
    "backchannel_logout_session_required": True,
    "frontchannel_logout_uri": "https://app.example.com/frontchannel",
    "frontchannel_logout_session_required": True,
    "software_id": "4NRB1-0XZABZI9E6-5SM3R",
    "software_version": "2.1",
    "strict_assertion_audience": True,
}
#: What cannot be said together with the rest.
ABSENT = {"jwks", "token_endpoint_auth_signing_alg"}


@pytest.mark.spec("RFC 7591 §2")
@pytest.mark.parametrize(
    ("client_type", "expected"),
    [
        ("web", ("client_secret_basic", CODE, ["code"], SIGN_IN, "web", False)),
        ("spa", ("none", CODE, ["code"], SIGN_IN, "web", True)),
        ("native", ("none", CODE, ["code"], SIGN_IN, "native", True)),
        ("machine", ("client_secret_basic", ["client_credentials"], [], "", "web", False)),
        ("device", ("none", ["refresh_token"], [], SIGN_IN, "native", True)),
    ],
)
def test_client_starts_safely_for_its_type(
    work: UnitOfWork, client_type: ClientType, expected: tuple[Any, ...]
) -> None:
    client = make_client(work, client_type)
    method, grant_types, response_types, scope, application_type, is_public = expected
    assert client.token_endpoint_auth_method == method
    assert (client.grant_types, client.response_types) == (grant_types, response_types)
    assert client.allowed_scopes == frozenset(scope.split())
    assert (client.application_type, client.is_public) == (application_type, is_public)
    assert client.is_native is (application_type == "native")
    assert client.require_pkce
    assert client.rotate_refresh_tokens
    assert (client.refresh_token_policy, client.id_token_claims) == ("offline_access", "full")
    assert client.id_token_signed_response_alg == client.access_token_signed_response_alg == "RS256"
    assert [client.is_first_party, client.may_introspect_any, client.is_demo] == [False, False, False]


def test_every_client_type_is_covered_by_these_tests() -> None:
    assert set(CLIENT_TYPES) == {"web", "spa", "native", "machine", "device"}


def test_client_has_what_was_asked_for_when_it_is_registered(work: UnitOfWork) -> None:
    client = create_client(
        work,
        ClientMetadata(
            client_name="  My app  ",
            client_type="web",
            client_id="my-app.1_~",
            redirect_uris=(REDIRECT_URI, "https://app.example.com/other"),
            post_logout_redirect_uris=("https://app.example.com/bye",),
            scope="phone  openid email",
            token_endpoint_auth_method="client_secret_post",
            grant_types=("authorization_code",),
            client_uri="https://app.example.com",
            policy_uri="https://app.example.com/privacy",
            tos_uri="https://app.example.com/terms",
            require_pkce=False,
            rotate_refresh_tokens=False,
            refresh_token_policy="always",
            id_token_claims="lean",
            id_token_signed_response_alg="ES256",
            access_token_signed_response_alg="EdDSA",
            **EVERYTHING_ELSE,
            is_first_party=True,
            may_introspect_any=True,
        ),
    )
    shown = describe(client)
    assert shown == {
        "client_id": "my-app.1_~",
        "client_id_issued_at": int(work.now.timestamp()),
        "client_name": "My app",
        "client_type": "web",
        "application_type": "web",
        "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "redirect_uris": [REDIRECT_URI, "https://app.example.com/other"],
        "post_logout_redirect_uris": ["https://app.example.com/bye"],
        "scope": "openid email phone",
        "client_uri": "https://app.example.com",
        "policy_uri": "https://app.example.com/privacy",
        "tos_uri": "https://app.example.com/terms",
        "require_pkce": False,
        "rotate_refresh_tokens": False,
        "refresh_token_policy": "always",
        "id_token_claims": "lean",
        "id_token_signed_response_alg": "ES256",
        "access_token_signed_response_alg": "EdDSA",
        **{name: list(value) if isinstance(value, tuple) else value for name, value in EVERYTHING_ELSE.items()},
        "registered_dynamically": False,
        "is_first_party": True,
        "may_introspect_any": True,
        "jwt_authentication": False,
        "access_token_claims": "lean",
        "environment": "live",
        "is_disabled": False,
    }
    others = {"client_id", "client_id_issued_at", "jwks_uri", "environment", "is_disabled"}
    assert set(shown) == {*others, *MEMBERS, *OWN_MEMBERS} - ABSENT


def test_description_leaves_out_what_is_not_known(work: UnitOfWork) -> None:
    shown = describe(make_client(work))
    assert not {"client_uri", "policy_uri", "tos_uri"} & set(shown)
    assert None not in shown.values()


def test_client_gets_a_random_id_when_none_is_chosen(work: UnitOfWork) -> None:
    first, second = make_client(work), make_client(work)
    assert first.id != second.id
    assert len(first.id) == 22


def test_registration_is_audited(work: UnitOfWork) -> None:
    client = make_client(work, "spa")
    row = last_audited(work, AuditEvent.CLIENT_CREATED)
    assert (row.client_id, row.details, row.actor_kind) == (client.id, {"client_type": "spa"}, "operator")


def test_further_scope_is_known_when_the_deployment_configures_it(make_gatepost: Callable[..., Gatepost]) -> None:
    with make_gatepost(scopes={"notes:read": "Read your notes"}).work() as work:
        assert make_client(work, scope="openid notes:read").scope == "openid notes:read"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("client_name", "x" * 100),
        ("client_name", "Größe 🦊"),
        ("client_id", "x" * 100),
        ("client_id", "0"),
        ("client_uri", "https://" + "x" * 2000),
        ("tos_uri", "https://x"),
    ],
)
def test_registration_takes_the_longest_and_the_shortest(work: UnitOfWork, member: str, value: str) -> None:
    assert value in describe(make_client(work, **{member: value})).values()


# --------------------------------------------------------------------------------------------------------------- flows


@pytest.mark.spec("RFC 7591 §2.1")
@pytest.mark.parametrize(
    ("asked", "grant_types", "response_types"),
    [
        ({}, CODE, ["code"]),
        ({"grant_types": ("authorization_code",)}, ["authorization_code"], ["code"]),
        ({"grant_types": ("implicit",)}, ["implicit"], ["id_token"]),
        ({"grant_types": ("refresh_token",)}, ["refresh_token"], []),
        ({"grant_types": ("client_credentials",), "scope": ""}, ["client_credentials"], []),
        ({"response_types": ("id_token",)}, [*CODE, "implicit"], ["id_token"]),
        ({"response_types": ("none",)}, CODE, ["none"]),
        ({"response_types": ("token id_token code", "code")}, [*CODE, "implicit"], ["code id_token token", "code"]),
        ({"response_types": ("id_token code", "code id_token")}, [*CODE, "implicit"], ["code id_token"]),
    ],
    ids=str,
)
def test_grant_types_and_response_types_follow_from_each_other(
    work: UnitOfWork, asked: dict[str, Any], grant_types: list[str], response_types: list[str]
) -> None:
    client = make_client(work, **asked)
    assert (client.grant_types, client.response_types) == (grant_types, response_types)


# ----------------------------------------------------------------------------------------------------------- documents


def test_client_sees_nothing_of_what_the_operator_decides(work: UnitOfWork) -> None:
    assert not set(OWN_MEMBERS) & set(describe_registration(make_client(work)))
