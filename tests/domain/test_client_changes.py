"""Changing a registration: what each may change, what stays, and when a new secret is due."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, update

from server.domain.audit_events import AuditEvent
from server.domain.client_changes import change_client, metadata_of, replace_metadata
from server.domain.client_registration import ClientMetadata, create_client, describe, prepare_client
from server.domain.client_secrets import issue_client_secret, readable_client_secrets, verify_client_secret
from server.domain.clients import Client
from server.domain.errors import NotFound
from server.domain.organizations import create_organization
from server.domain.policy.client_metadata import MEMBERS, ClientType
from server.domain.registration_tokens import (
    issue_registration_token,
    rotate_registration_token,
    verify_registration_token,
)
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import count_changed
from tests.domain.factories import REDIRECT_URI, audited, last_audited, make_client
from tests.support.clock import FrozenClock

LOGO = "https://app.example.com/logo.png"


def rich(work: UnitOfWork, **changes: Any) -> Client:
    metadata = ClientMetadata(
        "First", "web", "my-app", (REDIRECT_URI,), scope="openid email", logo_uri=LOGO, default_max_age=5,
        require_auth_time=True, id_token_claims="lean", may_introspect_any=True, require_pkce=False,
        strict_assertion_audience=True,
    )  # fmt: skip
    return create_client(work, replace(metadata, **changes))


@pytest.mark.spec("RFC 7592 §2.2")
def test_everything_the_client_said_is_replaced_and_what_the_operator_said_stays(work: UnitOfWork) -> None:
    client = rich(work)
    plain = prepare_client(work, ClientMetadata("Second", "native", "my-app", ("com.example.app:/cb",)))
    assert replace_metadata(work, client, plain) is None
    assert {name: getattr(client, name) for name in MEMBERS} == {name: getattr(plain, name) for name in MEMBERS}
    assert (client.client_type, client.is_native, client.is_public) == ("native", True, True)
    assert (client.may_introspect_any, client.id_token_claims, client.strict_assertion_audience) == (True, "lean", True)
    assert (client.require_pkce, client.rotate_refresh_tokens) == (True, True)
    row = last_audited(work, AuditEvent.CLIENT_UPDATED)
    assert row.client_id == "my-app"
    assert {"logo_uri", "redirect_uris", "client_name"} <= set(row.details["changed"])
    assert "post_logout_redirect_uris" not in row.details["changed"]


@pytest.mark.spec("TK-24", "RFC 8252 §6")
@pytest.mark.parametrize(
    ("before", "after", "is_required"),
    [
        (("web", False), ("native", True), True),
        (("native", True), ("web", False), True),
        (("web", False), ("web", False), False),
        (("web", True), ("web", False), True),
        (("native", False), ("native", True), False),
    ],
    ids=str,
)
def test_client_cannot_shed_pkce_by_becoming_of_another_type(
    work: UnitOfWork, before: tuple[ClientType, bool], after: tuple[ClientType, bool], is_required: bool
) -> None:
    """Unless its type changes, what the operator said stays."""
    secret: dict[str, Any] = {"token_endpoint_auth_method": "client_secret_basic"}
    client = make_client(work, before[0], require_pkce=before[1], **secret)
    metadata = ClientMetadata("App", after[0], client.id, (REDIRECT_URI,), require_pkce=after[1], **secret)
    replace_metadata(work, client, prepare_client(work, metadata))
    assert (client.client_type, client.require_pkce) == (after[0], is_required)


def test_operator_changes_what_is_theirs_too(work: UnitOfWork) -> None:
    client = rich(work)
    prepared = prepare_client(work, ClientMetadata(**metadata_of(client) | {"may_introspect_any": False}))
    change_client(work, client, prepared)
    assert not client.may_introspect_any
    assert last_audited(work, AuditEvent.CLIENT_UPDATED).details == {"changed": ["may_introspect_any"]}


@pytest.mark.spec("TK-24", "RFC 7592 §3")
@pytest.mark.parametrize(
    ("change", "stays"),
    [
        ({"registered_dynamically": False}, False),
        ({"is_first_party": True}, False),
        ({"may_introspect_any": True}, False),
        ({"strict_assertion_audience": True}, True),
        ({"grant_types": ("authorization_code", "client_credentials")}, True),
    ],
    ids=str,
)
def test_registration_token_ends_when_the_operator_trusts_the_client(
    work: UnitOfWork, change: dict[str, Any], stays: bool
) -> None:
    client, other = (make_client(work, registered_dynamically=True) for _ in range(2))
    token, of_other = (issue_registration_token(work, each) for each in (client, other))
    change_client(work, client, prepare_client(work, ClientMetadata(**metadata_of(client) | change)))
    assert verify_registration_token(work, client.id, token) is stays
    assert (rotate_registration_token(work, client.id, token) is not None) is stays
    assert verify_registration_token(work, other.id, of_other)
    rows = audited(work, AuditEvent.REGISTRATION_TOKEN_REVOKED)
    assert [row.client_id for row in rows] == ([] if stays else [client.id])


def test_registration_token_stays_ended_when_the_trust_is_taken_back(work: UnitOfWork) -> None:
    client = make_client(work, registered_dynamically=True)
    token = issue_registration_token(work, client)
    for is_first_party in (True, False):
        metadata = metadata_of(client) | {"is_first_party": is_first_party}
        change_client(work, client, prepare_client(work, ClientMetadata(**metadata)))
    assert not verify_registration_token(work, client.id, token)
    assert len(audited(work, AuditEvent.REGISTRATION_TOKEN_REVOKED)) == 1


@pytest.mark.spec("TK-24")
def test_operator_has_the_last_word_when_the_client_changes_itself_meanwhile(work: UnitOfWork) -> None:
    """As it may while its sector file, which stands at its own host, is fetched for the operator."""
    client = rich(work, registered_dynamically=True, may_introspect_any=False)
    prepared = prepare_client(work, ClientMetadata(**metadata_of(client) | {"is_first_party": True}))
    elsewhere = update(Client).where(Client.id == client.id).values(redirect_uris=["https://evil.example/cb"])
    count_changed(work.db, elsewhere)
    change_client(work, client, prepared)
    assert (client.is_first_party, client.redirect_uris) == (True, [REDIRECT_URI])


def test_change_is_refused_when_the_client_was_removed_meanwhile(work: UnitOfWork) -> None:
    client = rich(work)
    count_changed(work.db, delete(Client).where(Client.id == client.id))
    with pytest.raises(NotFound, match=r"There is no client my-app\."):
        change_client(work, client, prepare_client(work, ClientMetadata(**metadata_of(client))))


def test_metadata_of_a_client_register_the_same_client(work: UnitOfWork) -> None:
    client = rich(work)
    again = prepare_client(work, ClientMetadata(**metadata_of(client)))
    assert describe(again) == describe(client)


@pytest.mark.parametrize(
    ("before", "after", "is_new"),
    [
        ("client_secret_basic", "client_secret_post", False),
        ("client_secret_basic", "client_secret_jwt", True),
        ("client_secret_jwt", "client_secret_post", True),
        ("private_key_jwt", "client_secret_basic", True),
        ("client_secret_basic", "private_key_jwt", False),
    ],
)
def test_secret_is_new_when_the_old_one_does_not_serve_the_method(
    work: UnitOfWork, before: str, after: str, is_new: bool
) -> None:
    keys = {"jwks_uri": "https://app.example.com/jwks.json"}
    client = make_client(work, token_endpoint_auth_method=before, **keys)
    old = issue_client_secret(work, client)
    metadata = metadata_of(client) | {"token_endpoint_auth_method": after}
    secret = change_client(work, client, prepare_client(work, ClientMetadata(**metadata)))
    assert (secret is not None) is is_new
    if secret is not None:
        assert verify_client_secret(work, client, secret)
        assert not verify_client_secret(work, client, old)


# Clients that make tokens -------------------------------------------------------------------------------------------


def changed(work: UnitOfWork, client: Client, **values: Any) -> str | None:
    return change_client(work, client, prepare_client(work, ClientMetadata(**metadata_of(client) | values)))


def test_client_gets_a_secret_that_signs_when_it_may_make_tokens(work: UnitOfWork, clock: FrozenClock) -> None:
    """The one it has cannot be read; it proves the client for another day."""
    client = make_client(work, "machine")
    old = issue_client_secret(work, client)
    new = changed(work, client, jwt_authentication=True)
    assert new is not None
    assert readable_client_secrets(work, client) == [new]
    assert [verify_client_secret(work, client, secret) for secret in (old, new)] == [True, True]
    clock.advance(86400)
    assert [verify_client_secret(work, client, secret) for secret in (old, new)] == [False, True]


def test_client_keeps_its_secret_and_nothing_readable_when_it_makes_no_more_tokens(work: UnitOfWork) -> None:
    client = make_client(work, "machine", jwt_authentication=True)
    secret = issue_client_secret(work, client)
    assert changed(work, client, jwt_authentication=False) is None
    assert readable_client_secrets(work, client) == []
    assert verify_client_secret(work, client, secret)


@pytest.mark.parametrize("jwt_authentication", [True, False])
def test_client_that_signs_in_either_way_keeps_its_secret(work: UnitOfWork, jwt_authentication: bool) -> None:
    client = make_client(work, "machine", token_endpoint_auth_method="client_secret_jwt")
    secret = issue_client_secret(work, client)
    assert changed(work, client, jwt_authentication=jwt_authentication) is None
    assert readable_client_secrets(work, client) == [secret]


def test_client_gets_a_new_secret_when_it_proves_itself_in_another_way(work: UnitOfWork) -> None:
    client = make_client(work, "machine", jwt_authentication=True)
    old = issue_client_secret(work, client)
    new = changed(work, client, token_endpoint_auth_method="client_secret_jwt")
    assert new is not None
    assert readable_client_secrets(work, client) == [new]
    assert not verify_client_secret(work, client, old)


@pytest.mark.spec("TK-24")
def test_client_loses_its_registration_token_when_it_may_make_tokens(work: UnitOfWork) -> None:
    client = make_client(work, registered_dynamically=True)
    token = issue_registration_token(work, client)
    changed(work, client, jwt_authentication=True)
    assert not verify_registration_token(work, client.id, token)


def test_client_stays_where_it_belongs(work: UnitOfWork) -> None:
    first, second = create_organization(work, "First"), create_organization(work, "Second")
    client = make_client(work, organization_id=first.id)
    changed(work, client, organization_id=second.id, environment="test", client_name="Renamed")
    assert (client.organization_id, client.environment, client.client_name) == (first.id, "live", "Renamed")
    row = last_audited(work, AuditEvent.CLIENT_UPDATED)
    assert (row.organization_id, row.details["changed"]) == (first.id, ["client_name"])
