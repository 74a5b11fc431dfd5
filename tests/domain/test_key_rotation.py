"""Key rotation: a new key signs at once, the old one is published until nothing it signed can still live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Denied, NotFound
from server.domain.key_rotation import (
    import_key,
    prepare_next_key,
    remove_retired_keys,
    retire_key,
    rotate_key,
)
from server.domain.signing_keys import KeyState, StoredSigningKey, find_key, get_key, published_keys, signing_key
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose
from server.infra.jose import InvalidToken
from tests.domain.factories import audited, last_audited
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

RETIREMENT = 7200


@pytest.fixture
def gatepost(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    return make_gatepost(signing_key_retirement=RETIREMENT)


@pytest.fixture
def work(gatepost: Gatepost) -> Iterator[UnitOfWork]:
    with gatepost.work() as work:
        yield work


@pytest.fixture
def pem() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def active(work: UnitOfWork, algorithm: str = "ES256") -> StoredSigningKey:
    stored = find_key(work, algorithm, KeyState.ACTIVE)
    assert stored is not None
    return stored


def sign(work: UnitOfWork) -> str:
    return jose.sign({"sub": "usr_1"}, signing_key(work, "ES256"), "ES256", "JWT")


def published(work: UnitOfWork) -> set[str]:
    return {key["kid"] for key in published_keys(work)}


def test_new_key_signs_at_once_and_the_old_one_retires_when_none_was_prepared(work: UnitOfWork) -> None:
    old = active(work)
    before = sign(work)
    new = rotate_key(work, "ES256")
    assert (new.state, new.activated_at) == (KeyState.ACTIVE, work.now)
    assert (old.state, old.remove_after) == (KeyState.RETIRING, work.now + timedelta(seconds=RETIREMENT))
    assert active(work) is new
    after = sign(work)
    assert jose.peek_header(after)["kid"] == new.kid
    assert {old.kid, new.kid} <= published(work)
    for token in (before, after):
        assert jose.verify(token, published_keys(work))
    row = last_audited(work, AuditEvent.SIGNING_KEY_ROTATED)
    assert row.details == {"kid": new.kid, "algorithm": "ES256"}


def test_prepared_key_is_published_first_and_signs_after_the_rotation(work: UnitOfWork, clock: FrozenClock) -> None:
    prepared = prepare_next_key(work, "ES256")
    assert prepare_next_key(work, "ES256") is prepared
    assert prepared.state == KeyState.NEXT
    assert prepared.kid in published(work)
    assert jose.peek_header(sign(work))["kid"] != prepared.kid
    clock.advance(60)
    assert rotate_key(work, "ES256") is prepared
    assert (prepared.state, prepared.activated_at) == (KeyState.ACTIVE, work.now)
    assert jose.peek_header(sign(work))["kid"] == prepared.kid
    assert find_key(work, "ES256", KeyState.NEXT) is None


def test_other_algorithms_keep_their_keys_when_one_rotates(work: UnitOfWork) -> None:
    kept = active(work, "EdDSA").kid
    rotate_key(work, "ES256")
    assert active(work, "EdDSA").kid == kept


def test_rotation_makes_a_key_when_there_was_none_at_all(work: UnitOfWork) -> None:
    work.db.delete(active(work))
    work.db.flush()
    assert rotate_key(work, "ES256").state == KeyState.ACTIVE


def test_retiring_key_leaves_the_jwks_when_its_time_is_over(work: UnitOfWork, clock: FrozenClock) -> None:
    old = active(work)
    rotate_key(work, "ES256")
    clock.advance(RETIREMENT - 0.001)
    assert old.kid in published(work)
    clock.advance(0.001)
    assert old.kid not in published(work)


def test_private_half_is_erased_and_audited_when_a_retiring_keys_time_is_over(
    work: UnitOfWork, clock: FrozenClock
) -> None:
    old = active(work)
    token = sign(work)
    new = rotate_key(work, "ES256")
    clock.advance(RETIREMENT - 1)
    remove_retired_keys(work)
    assert old.state == KeyState.RETIRING
    clock.advance(1)
    remove_retired_keys(work)
    assert (old.state, old.private_encrypted) == (KeyState.REMOVED, None)
    assert new.state == KeyState.ACTIVE
    assert last_audited(work, AuditEvent.SIGNING_KEY_RETIRED).details == {"kid": old.kid, "algorithm": "ES256"}
    with pytest.raises(InvalidToken):
        jose.verify(token, published_keys(work))


def test_rotation_removes_what_an_earlier_one_retired(work: UnitOfWork, clock: FrozenClock) -> None:
    first = active(work)
    rotate_key(work, "ES256")
    clock.advance(RETIREMENT)
    rotate_key(work, "ES256")
    assert first.state == KeyState.REMOVED


@pytest.mark.parametrize("state", [KeyState.NEXT, KeyState.RETIRING])
def test_key_is_out_at_once_when_it_is_retired(work: UnitOfWork, state: KeyState) -> None:
    stored = prepare_next_key(work, "ES256") if state is KeyState.NEXT else active(work)
    if state is KeyState.RETIRING:
        rotate_key(work, "ES256")
    assert stored.state == state
    assert retire_key(work, stored.kid) is stored
    assert (stored.state, stored.private_encrypted) == (KeyState.REMOVED, None)
    assert stored.kid not in published(work)
    assert last_audited(work, AuditEvent.SIGNING_KEY_RETIRED).details["kid"] == stored.kid


def test_key_is_retired_once_however_often_it_is_asked(work: UnitOfWork) -> None:
    stored = prepare_next_key(work, "ES256")
    retire_key(work, stored.kid)
    retire_key(work, stored.kid)
    assert len(audited(work, AuditEvent.SIGNING_KEY_RETIRED)) == 1


def test_active_key_is_not_retired(work: UnitOfWork) -> None:
    stored = active(work)
    with pytest.raises(Denied, match="Rotate first"):
        retire_key(work, stored.kid)
    assert (stored.state, stored.private_encrypted is None) == (KeyState.ACTIVE, False)


def test_unknown_key_is_not_retired(work: UnitOfWork) -> None:
    with pytest.raises(NotFound):
        retire_key(work, "nowhere")


def test_imported_key_waits_and_signs_after_the_rotation(work: UnitOfWork, pem: bytes) -> None:
    imported = import_key(work, pem, "ES256")
    assert imported.state == KeyState.NEXT
    assert imported.kid in published(work)
    assert rotate_key(work, "ES256") is imported
    assert jose.peek_header(sign(work))["kid"] == imported.kid
    created = audited(work, AuditEvent.SIGNING_KEY_CREATED)[-1]
    assert created.details == {"kid": imported.kid, "algorithm": "ES256", "state": "next"}


def test_import_is_refused_when_a_next_key_is_waiting(work: UnitOfWork, pem: bytes) -> None:
    prepare_next_key(work, "ES256")
    with pytest.raises(Denied, match="A next ES256 key is waiting already; rotate first"):
        import_key(work, pem, "ES256")


def test_import_is_refused_when_the_key_was_here_before(work: UnitOfWork, pem: bytes) -> None:
    kid = import_key(work, pem, "ES256").kid
    retire_key(work, kid)
    with pytest.raises(Conflict):
        import_key(work, pem, "ES256")
    assert get_key(work, kid).private_encrypted is None


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_import_is_refused_when_the_key_does_not_fit_the_algorithm(
    work: UnitOfWork, pem: bytes, algorithm: str
) -> None:
    with pytest.raises(ValueError, match=algorithm):
        import_key(work, pem, algorithm)
