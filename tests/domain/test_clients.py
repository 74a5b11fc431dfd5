"""Clients: safe defaults for each type, and a refusal with its member and reason for whatever contradicts them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from server.domain import clients
from server.domain.audit_events import AuditEvent
from server.domain.client_registration import ClientMetadata, create_client, describe
from server.domain.client_secrets import issue_client_secret, list_client_secrets
from server.domain.clients import Client
from server.domain.consents import find_consent, give_consent
from server.domain.errors import Conflict, Invalid, NotFound
from server.domain.policy.client_metadata import CLIENT_TYPES, ClientType
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import REDIRECT_URI, audited, find_grant, last_audited, make_client, make_grant, make_user
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

CODE = ["authorization_code", "refresh_token"]
SIGN_IN = "openid email offline_access profile"


# ------------------------------------------------------------------------------------------------------------ defaults


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
        "is_first_party": True,
        "may_introspect_any": True,
        "is_disabled": False,
    }


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


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("client_type", "metadata", "field", "reason"),
    [
        ("web", {"client_name": ""}, "client_name", "1 to 100 printable characters"),
        ("web", {"client_name": "   "}, "client_name", "1 to 100 printable characters"),
        ("web", {"client_name": "x" * 101}, "client_name", "1 to 100 printable characters"),
        ("web", {"client_name": "two\nlines"}, "client_name", "1 to 100 printable characters"),
        ("web", {"client_name": "bell\a"}, "client_name", "1 to 100 printable characters"),
        ("web", {"client_name": "turned \u202e round"}, "client_name", "1 to 100 printable characters"),
        ("web", {"client_id": "-leading"}, "client_id", "letters, digits"),
        ("web", {"client_id": "sp ace"}, "client_id", "letters, digits"),
        ("web", {"client_id": "sla/sh"}, "client_id", "letters, digits"),
        ("web", {"client_id": "café"}, "client_id", "letters, digits"),
        ("web", {"client_id": "x" * 101}, "client_id", "letters, digits"),
        ("web", {"client_id": "usr_somebody"}, "client_id", "does not begin with usr_"),
        (
            "web",
            {"token_endpoint_auth_method": "private_key_jwt"},
            "token_endpoint_auth_method",
            "one of client_secret",
        ),
        ("web", {"token_endpoint_auth_method": "NONE"}, "token_endpoint_auth_method", "one of"),
        ("machine", {"token_endpoint_auth_method": "none"}, "grant_types", "cannot use client_credentials"),
        ("spa", {"grant_types": ("client_credentials",)}, "grant_types", "cannot use client_credentials"),
        ("spa", {"require_pkce": False}, "require_pkce", "without a secret"),
        ("native", {"require_pkce": False}, "require_pkce", "without a secret"),
        ("web", {"token_endpoint_auth_method": "none", "require_pkce": False}, "require_pkce", "without a secret"),
        ("spa", {"rotate_refresh_tokens": False}, "rotate_refresh_tokens", "always rotate"),
        ("device", {"rotate_refresh_tokens": False}, "rotate_refresh_tokens", "always rotate"),
        ("web", {"refresh_token_policy": "never"}, "refresh_token_policy", "one of offline_access, always"),
        ("web", {"id_token_claims": "some"}, "id_token_claims", "one of full, lean"),
        ("web", {"id_token_signed_response_alg": "none"}, "id_token_signed_response_alg", "one of RS256, ES256, EdDSA"),
        ("web", {"id_token_signed_response_alg": "HS256"}, "id_token_signed_response_alg", "one of RS256"),
        ("web", {"access_token_signed_response_alg": "RS512"}, "access_token_signed_response_alg", "one of RS256"),
        ("web", {"redirect_uris": ()}, "redirect_uris", "at least one redirect URI"),
        ("spa", {"redirect_uris": ()}, "redirect_uris", "at least one redirect URI"),
        ("native", {"redirect_uris": ()}, "redirect_uris", "at least one redirect URI"),
        (
            "web",
            {"redirect_uris": (REDIRECT_URI, "http://app.example.com/cb")},
            "redirect_uris",
            "http is only allowed",
        ),
        ("web", {"redirect_uris": ("com.example.app:/cb",)}, "redirect_uris", "Only native apps"),
        ("machine", {"redirect_uris": ("nowhere",)}, "redirect_uris", ""),
        ("web", {"post_logout_redirect_uris": ("https://x/#f",)}, "post_logout_redirect_uris", "no fragment"),
        ("web", {"post_logout_redirect_uris": ("http://x/",)}, "post_logout_redirect_uris", "http is only allowed"),
        ("web", {"scope": "openid notes:read"}, "scope", "no scope 'notes:read'; it knows address, email"),
        ("web", {"scope": "OPENID"}, "scope", "no scope 'OPENID'"),
        ("machine", {"scope": "openid"}, "scope", "cannot have scopes that speak about a person"),
        ("web", {"grant_types": ("client_credentials",)}, "scope", "cannot have scopes that speak about a person"),
        ("web", {"client_uri": "http://app.example.com"}, "client_uri", "https URL"),
        ("web", {"policy_uri": "javascript:alert(1)"}, "policy_uri", "https URL"),
        ("web", {"tos_uri": "https://app.example.com/a b"}, "tos_uri", "https URL"),
        ("web", {"tos_uri": "https://"}, "tos_uri", "https URL"),
        ("web", {"client_uri": ""}, "client_uri", "https URL"),
        ("web", {"client_uri": "https://" + "x" * 2001}, "client_uri", "https URL"),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_registration_is_refused_naming_the_member_when(
    work: UnitOfWork, client_type: ClientType, metadata: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(Invalid) as caught:
        make_client(work, client_type, **metadata)
    assert caught.value.field == field
    assert reason in str(caught.value)
    assert audited(work, AuditEvent.CLIENT_CREATED) == []


@pytest.mark.parametrize(
    "grant_type", ["password", "implicit", "authorization_code ", "urn:ietf:params:oauth:grant-type:x"]
)
def test_registration_is_refused_when_it_asks_for_a_grant_type_we_do_not_speak(
    work: UnitOfWork, grant_type: str
) -> None:
    with pytest.raises(Invalid) as caught:
        make_client(work, grant_types=("authorization_code", grant_type))
    assert caught.value.field == "grant_types"


def test_registration_is_refused_when_the_id_is_taken(work: UnitOfWork) -> None:
    make_client(work, client_id="my-app")
    with pytest.raises(Conflict, match=r"There is a client my-app already\."):
        make_client(work, client_id="my-app")


def test_client_ids_differ_by_case(work: UnitOfWork) -> None:
    assert make_client(work, client_id="my-app").id != make_client(work, client_id="My-App").id


@pytest.mark.parametrize(
    ("issuer", "is_taken"), [("http://localhost:8000", True), ("https://login.example.com", False)]
)
def test_web_client_may_use_http_on_loopback_only_when_the_issuer_is_local(
    make_gatepost: Callable[..., Gatepost], issuer: str, is_taken: bool
) -> None:
    with make_gatepost(issuer=issuer).work() as work:
        if is_taken:
            assert make_client(work, redirect_uris=("http://localhost:9000/cb",))
        else:
            with pytest.raises(Invalid, match="http is only allowed"):
                make_client(work, redirect_uris=("http://localhost:9000/cb",))
        assert make_client(work, "native", redirect_uris=("http://localhost:9000/cb", "com.example.app:/cb"))


# -------------------------------------------------------------------------------------------------------- find and end


def test_client_is_found_by_its_id(work: UnitOfWork) -> None:
    client = make_client(work)
    assert clients.find_client(work, client.id) is client
    assert clients.get_client(work, client.id) is client


@pytest.mark.parametrize("wanted", ["", "unknown", "sp ace", "nul\0", "\ud800", "x" * 5000])
def test_no_client_is_found_when_there_is_none(work: UnitOfWork, wanted: str) -> None:
    assert clients.find_client(work, wanted) is None
    with pytest.raises(NotFound, match="There is no client"):
        clients.get_client(work, wanted)


def test_clients_are_listed_oldest_first(work: UnitOfWork, clock: FrozenClock) -> None:
    made = []
    for name in ("c", "a", "b"):
        clock.advance(1)
        made.append(make_client(work, client_id=name).id)
    assert [client.id for client in clients.list_clients(work)] == made


def test_demo_client_is_noticed(work: UnitOfWork) -> None:
    make_client(work)
    assert not clients.has_demo_client(work)
    make_client(work, is_demo=True)
    assert clients.has_demo_client(work)


def test_client_is_disabled_and_enabled_once_however_often_it_is_asked(work: UnitOfWork, clock: FrozenClock) -> None:
    client = make_client(work)
    clients.enable_client(work, client)
    assert audited(work, AuditEvent.CLIENT_ENABLED) == []
    disabled_at = work.now
    clients.disable_client(work, client)
    clock.advance(5)
    clients.disable_client(work, client)
    assert client.disabled_at == client.updated_at == disabled_at
    assert describe(client)["is_disabled"] is True
    assert [row.client_id for row in audited(work, AuditEvent.CLIENT_DISABLED)] == [client.id]
    clients.enable_client(work, client)
    clients.enable_client(work, client)
    assert client.disabled_at is None
    assert client.updated_at == disabled_at + timedelta(seconds=5)
    assert [row.client_id for row in audited(work, AuditEvent.CLIENT_ENABLED)] == [client.id]


def test_deleted_client_takes_everything_along(work: UnitOfWork) -> None:
    user, client = make_user(work), make_client(work, client_id="my-app")
    user_id = user.id
    issue_client_secret(work, client)
    grant_id = make_grant(work, client, user).id
    give_consent(work, user_id, "my-app", frozenset({"openid"}))
    clients.delete_client(work, client)
    work.db.expunge_all()
    assert clients.find_client(work, "my-app") is None
    assert find_grant(work, grant_id) is None
    assert find_consent(work, user_id, "my-app") is None
    again = make_client(work, client_id="my-app")
    assert list_client_secrets(work, again) == []
    assert last_audited(work, AuditEvent.CLIENT_DELETED).client_id == "my-app"


def test_client_without_a_name_is_refused_by_the_database_too(work: UnitOfWork) -> None:
    client = make_client(work)
    client.client_name = None  # type: ignore[assignment]
    with pytest.raises(IntegrityError):
        work.db.flush()
    work.db.rollback()
    assert Client.__table__.c.client_name.nullable is False
