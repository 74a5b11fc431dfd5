"""Clients: found by their id, disabled and enabled, and gone with everything that was theirs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import UnmappedInstanceError

from server.domain import clients
from server.domain.audit_events import AuditEvent
from server.domain.client_registration import describe
from server.domain.client_secrets import issue_client_secret, list_client_secrets
from server.domain.clients import Client
from server.domain.consents import find_consent, give_consent
from server.domain.errors import NotFound
from server.domain.organizations import create_organization
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import audited, find_grant, last_audited, make_client, make_grant, make_user
from tests.support.clock import FrozenClock


def test_client_is_found_by_its_id(work: UnitOfWork) -> None:
    client = make_client(work)
    assert clients.find_client(work, client.id) is client
    assert clients.get_client(work, client.id) is client


@pytest.mark.parametrize("wanted", ["", "unknown", "sp ace", "nul\0", "\ud800", "x" * 5000])
def test_no_client_is_found_when_there_is_none(work: UnitOfWork, wanted: str) -> None:
    assert clients.find_client(work, wanted) is None
    with pytest.raises(NotFound, match="There is no client"):
        clients.get_client(work, wanted)


def test_client_from_memory_says_what_the_database_says_and_no_session_takes_it(work: UnitOfWork) -> None:
    organization = create_organization(work, "Sample")
    organization.suspended_at = work.now
    stored = make_client(work, organization_id=organization.id)
    work.db.commit()
    remembered = clients.registered_client(work, stored.id)
    assert isinstance(remembered, Client)
    names = inspect(Client).column_attrs.keys()
    assert remembered.organization_suspended_at == organization.suspended_at
    assert {name: getattr(remembered, name) for name in names} == {name: getattr(stored, name) for name in names}
    assert remembered.allowed_scopes == stored.allowed_scopes
    remembered.client_name = "Another name"
    with pytest.raises(UnmappedInstanceError):
        work.db.add(remembered)


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
