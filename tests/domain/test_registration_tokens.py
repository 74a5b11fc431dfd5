"""Registration access tokens: kept as digests, replaced with every change, good for one client."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from server.domain.audit_events import AuditEvent
from server.domain.clients import Client, delete_client
from server.domain.registration_tokens import (
    RegistrationToken,
    issue_registration_token,
    revoke_registration_token,
    rotate_registration_token,
    verify_registration_token,
)
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import audited, make_client
from tests.support.clock import FrozenClock


@pytest.fixture
def client(work: UnitOfWork) -> Client:
    return make_client(work)


@pytest.mark.spec("TK-24")
def test_token_is_long_random_and_not_stored(work: UnitOfWork, client: Client) -> None:
    token = issue_registration_token(work, client)
    other = issue_registration_token(work, make_client(work))
    assert (len(token), token.startswith("rat_"), token != other) == (47, True, True)
    row = work.db.scalars(select(RegistrationToken).where(RegistrationToken.client_id == client.id)).one()
    assert token not in (row.token_digest, row.client_id)
    assert verify_registration_token(work, client.id, token)
    assert not verify_registration_token(work, client.id, other)


def test_client_without_a_token_has_none_that_fits(work: UnitOfWork, client: Client) -> None:
    for presented in ("", "x", "rat_"):
        assert not verify_registration_token(work, client.id, presented)
        assert rotate_registration_token(work, client.id, presented) is None
    assert not verify_registration_token(work, "nobody", "")


@pytest.mark.spec("RFC 7592 §5")
def test_old_token_ends_when_it_is_rotated(work: UnitOfWork, client: Client) -> None:
    first = issue_registration_token(work, client)
    second = rotate_registration_token(work, client.id, first)
    assert second is not None
    assert second != first
    assert verify_registration_token(work, client.id, second)
    assert not verify_registration_token(work, client.id, first)
    assert len(audited(work, AuditEvent.REGISTRATION_TOKEN_ROTATED)) == 1


def test_rotation_may_be_retried_for_a_while_and_gives_the_same(
    work: UnitOfWork, client: Client, clock: FrozenClock
) -> None:
    first = issue_registration_token(work, client)
    second = rotate_registration_token(work, client.id, first)
    clock.advance(work.settings.refresh_replay_window)
    assert rotate_registration_token(work, client.id, first) == second
    assert verify_registration_token(work, client.id, first, may_be_retry=True)
    assert len(audited(work, AuditEvent.REGISTRATION_TOKEN_ROTATED)) == 1
    clock.advance(1)
    assert rotate_registration_token(work, client.id, first) is None
    assert not verify_registration_token(work, client.id, first, may_be_retry=True)


def test_retry_is_over_when_the_successor_was_used(work: UnitOfWork, client: Client) -> None:
    first = issue_registration_token(work, client)
    second = rotate_registration_token(work, client.id, first)
    assert rotate_registration_token(work, client.id, second or "") is not None
    assert rotate_registration_token(work, client.id, first) is None


@pytest.mark.spec("TK-24")
def test_token_and_the_one_before_it_end_when_it_is_revoked(work: UnitOfWork, client: Client) -> None:
    other = make_client(work)
    first, of_other = issue_registration_token(work, client), issue_registration_token(work, other)
    second = rotate_registration_token(work, client.id, first)
    assert revoke_registration_token(work, client.id)
    for token in (first, second or ""):
        assert not verify_registration_token(work, client.id, token, may_be_retry=True)
        assert rotate_registration_token(work, client.id, token) is None
    assert not revoke_registration_token(work, client.id), "there is none any more"
    assert [row.client_id for row in audited(work, AuditEvent.REGISTRATION_TOKEN_REVOKED)] == [client.id]
    assert verify_registration_token(work, other.id, of_other)


def test_token_goes_with_its_client(work: UnitOfWork, client: Client) -> None:
    client_id, token = client.id, issue_registration_token(work, client)
    delete_client(work, client)
    work.db.expunge_all()
    assert not verify_registration_token(work, client_id, token)
    assert rotate_registration_token(work, client_id, token) is None
