"""Client secrets: shown once, kept as digests, several at a time, and over to the second."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.domain.audit_events import AuditEvent
from server.domain.client_secrets import (
    ClientSecret,
    end_client_secret,
    forget_readable_secrets,
    issue_client_secret,
    list_client_secrets,
    needs_secret,
    readable_client_secrets,
    rotate_client_secret,
    verify_client_secret,
)
from server.domain.clients import Client
from server.domain.errors import NotFound
from server.domain.organizations import create_organization
from server.domain.unit_of_work import UnitOfWork
from server.infra.keyring import KeyringError
from tests.domain.factories import audited, last_audited, make_client
from tests.support.clock import FrozenClock


@pytest.fixture
def client(work: UnitOfWork) -> Client:
    return make_client(work)


@pytest.mark.spec("RFC 6749 §10.10")
def test_secret_is_long_random_and_not_stored(work: UnitOfWork, client: Client) -> None:
    secret = issue_client_secret(work, client)
    assert secret.startswith("cs_")
    assert len(secret) == 46
    (stored,) = list_client_secrets(work, client)
    assert secret not in [str(getattr(stored, column.name)) for column in ClientSecret.__table__.columns]
    assert stored.hint == secret[-4:]
    assert stored.expires_at is None


def test_secret_verifies_for_its_own_client_alone(work: UnitOfWork, client: Client) -> None:
    secret, other = issue_client_secret(work, client), make_client(work)
    assert verify_client_secret(work, client, secret)
    assert not verify_client_secret(work, other, secret)


@pytest.mark.parametrize(
    "spoil", [str.upper, lambda s: s[:-1], lambda s: s + "x", lambda s: "", lambda s: s[3:], lambda s: s + "\0"]
)
def test_secret_does_not_verify_when_it_differs_at_all(work: UnitOfWork, client: Client, spoil: object) -> None:
    secret = issue_client_secret(work, client)
    assert callable(spoil)
    assert not verify_client_secret(work, client, spoil(secret))


def test_digest_does_not_verify_when_it_is_presented_as_the_secret(work: UnitOfWork, client: Client) -> None:
    issue_client_secret(work, client)
    (stored,) = list_client_secrets(work, client)
    assert not verify_client_secret(work, client, stored.secret_digest)


def test_nothing_verifies_when_the_client_has_no_secret(work: UnitOfWork, client: Client) -> None:
    assert not verify_client_secret(work, client, "")
    assert not verify_client_secret(work, client, "cs_")


def test_several_secrets_work_side_by_side(work: UnitOfWork, client: Client) -> None:
    secrets = [issue_client_secret(work, client) for _ in range(3)]
    assert all(verify_client_secret(work, client, secret) for secret in secrets)


def test_old_secret_works_to_the_second_of_the_overlap(work: UnitOfWork, client: Client, clock: FrozenClock) -> None:
    old = issue_client_secret(work, client)
    new = rotate_client_secret(work, client, 3600)
    assert old != new
    clock.advance(3599.999)
    assert verify_client_secret(work, client, old)
    clock.advance(0.001)
    assert not verify_client_secret(work, client, old)
    assert verify_client_secret(work, client, new)


def test_old_secret_ends_at_once_when_there_is_no_overlap(work: UnitOfWork, client: Client) -> None:
    old = issue_client_secret(work, client)
    new = rotate_client_secret(work, client, 0)
    assert not verify_client_secret(work, client, old)
    assert verify_client_secret(work, client, new)


def test_longer_overlap_does_not_prolong_a_secret_that_is_ending(work: UnitOfWork, client: Client) -> None:
    issue_client_secret(work, client)
    rotate_client_secret(work, client, 60)
    rotate_client_secret(work, client, 3600)
    ends = [stored.expires_at for stored in list_client_secrets(work, client)]
    assert sorted(end for end in ends if end) == [work.now + timedelta(seconds=60), work.now + timedelta(seconds=3600)]
    assert ends.count(None) == 1


def test_shorter_overlap_shortens_every_secret_that_is_ending(work: UnitOfWork, client: Client) -> None:
    oldest = issue_client_secret(work, client)
    older = rotate_client_secret(work, client, 3600)
    current = rotate_client_secret(work, client, 0)
    assert [verify_client_secret(work, client, secret) for secret in (oldest, older, current)] == [False, False, True]


def test_secrets_of_another_client_stay_when_one_rotates(work: UnitOfWork, client: Client) -> None:
    other = make_client(work)
    secret = issue_client_secret(work, other)
    rotate_client_secret(work, client, 0)
    assert verify_client_secret(work, other, secret)


def test_rotation_is_audited_without_the_secret(work: UnitOfWork, client: Client) -> None:
    secret = rotate_client_secret(work, client, 60)
    row = last_audited(work, AuditEvent.CLIENT_SECRET_ROTATED)
    assert (row.client_id, row.details) == (client.id, {"overlap_seconds": 60})
    assert secret not in str(
        [(each.details, each.client_id) for each in audited(work, AuditEvent.CLIENT_SECRET_ROTATED)]
    )


def test_secrets_are_listed_oldest_first(work: UnitOfWork, client: Client, clock: FrozenClock) -> None:
    hints = []
    for _ in range(3):
        clock.advance(1)
        hints.append(issue_client_secret(work, client)[-4:])
    assert [stored.hint for stored in list_client_secrets(work, client)] == hints


# Secrets that sign --------------------------------------------------------------------------------------------------


@pytest.fixture
def signing_client(work: UnitOfWork, client: Client) -> Client:
    client.token_endpoint_auth_method = "client_secret_jwt"
    work.db.flush()
    return client


@pytest.mark.spec("OpenID Connect Core §9")
def test_secret_stays_readable_when_the_client_signs_with_it(work: UnitOfWork, signing_client: Client) -> None:
    first, second = issue_client_secret(work, signing_client), issue_client_secret(work, signing_client)
    assert set(readable_client_secrets(work, signing_client)) == {first, second}
    assert verify_client_secret(work, signing_client, first)


def test_secret_is_encrypted_when_the_client_signs_with_it(work: UnitOfWork, signing_client: Client) -> None:
    secret = issue_client_secret(work, signing_client)
    (stored,) = list_client_secrets(work, signing_client)
    assert stored.secret_encrypted is not None
    assert secret not in str([getattr(stored, column.name) for column in ClientSecret.__table__.columns])


def test_secret_does_not_open_when_it_is_moved_to_another_row(work: UnitOfWork, signing_client: Client) -> None:
    for _ in range(2):
        issue_client_secret(work, signing_client)
    one, other = list_client_secrets(work, signing_client)
    one.secret_encrypted = other.secret_encrypted
    with pytest.raises(KeyringError):
        readable_client_secrets(work, signing_client)


def test_secret_is_not_readable_when_the_client_only_sends_it(work: UnitOfWork, client: Client) -> None:
    issue_client_secret(work, client)
    (stored,) = list_client_secrets(work, client)
    assert stored.secret_encrypted is None
    assert readable_client_secrets(work, client) == []


def test_readable_secret_ends_to_the_second_of_the_overlap(
    work: UnitOfWork, signing_client: Client, clock: FrozenClock
) -> None:
    old = issue_client_secret(work, signing_client)
    new = rotate_client_secret(work, signing_client, 60)
    clock.advance(59.999)
    assert set(readable_client_secrets(work, signing_client)) == {old, new}
    clock.advance(0.001)
    assert readable_client_secrets(work, signing_client) == [new]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("client_secret_basic", True),
        ("client_secret_post", True),
        ("client_secret_jwt", True),
        ("private_key_jwt", False),
        ("none", False),
    ],
)
def test_secret_is_needed_by_methods_that_use_one(client: Client, method: str, expected: bool) -> None:
    client.token_endpoint_auth_method = method
    assert needs_secret(client) is expected


# Tokens that clients make -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt"])
def test_secret_is_readable_when_the_client_makes_tokens_and_still_proves_it(work: UnitOfWork, method: str) -> None:
    maker = make_client(work, "machine", token_endpoint_auth_method=method, jwt_authentication=True)
    secret = issue_client_secret(work, maker)
    assert readable_client_secrets(work, maker) == [secret]
    assert verify_client_secret(work, maker, secret)
    (stored,) = list_client_secrets(work, maker)
    assert secret not in (stored.secret_digest + str(stored.secret_encrypted))


def test_readable_copies_are_forgotten_and_the_secrets_stay(work: UnitOfWork) -> None:
    maker = make_client(work, "machine", jwt_authentication=True)
    secrets = [issue_client_secret(work, maker) for _ in range(2)]
    forget_readable_secrets(work, maker)
    assert readable_client_secrets(work, maker) == []
    assert all(verify_client_secret(work, maker, secret) for secret in secrets)


def test_one_secret_is_ended_at_once_and_audited_once(work: UnitOfWork, client: Client) -> None:
    first, second = issue_client_secret(work, client), issue_client_secret(work, client)
    ended = next(each for each in list_client_secrets(work, client) if each.hint == first[-4:])
    for _ in range(2):
        end_client_secret(work, client, ended.id)
    assert [verify_client_secret(work, client, secret) for secret in (first, second)] == [False, True]
    (row,) = audited(work, AuditEvent.CLIENT_SECRET_ENDED)
    assert (row.client_id, row.details) == (client.id, {"hint": first[-4:]})


def test_secret_of_another_client_is_not_found_when_it_is_to_be_ended(work: UnitOfWork, client: Client) -> None:
    other = make_client(work)
    issue_client_secret(work, other)
    (stored,) = list_client_secrets(work, other)
    for secret_id in (stored.id, "nonsense"):
        with pytest.raises(NotFound):
            end_client_secret(work, client, secret_id)


def test_rows_say_whose_the_client_is_when_it_is_an_organizations(work: UnitOfWork) -> None:
    organization = create_organization(work, "Acme")
    client = make_client(work, organization_id=organization.id, environment="test")
    issue_client_secret(work, client)
    for event in (AuditEvent.CLIENT_CREATED, AuditEvent.CLIENT_SECRET_ISSUED):
        row = last_audited(work, event)
        assert (row.organization_id, row.environment) == (organization.id, "test")
