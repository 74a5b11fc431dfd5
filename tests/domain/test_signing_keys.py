"""Keys: one active for each algorithm, encrypted where they lie, parsed once; some sign, and some decrypt."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from server.domain import signing_keys
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, NotFound
from server.domain.signing_keys import (
    ALGORITHMS,
    ENCRYPTION_ALGORITHMS,
    KeyState,
    NoSigningKey,
    StoredSigningKey,
    decryption_keys,
    ensure_keys,
    find_key,
    generate_key,
    get_key,
    jwk_set,
    list_keys,
    published_keys,
    signing_key,
    store_key,
)
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose, jwe
from server.infra.keyring import KeyringError
from tests.domain.factories import audited, last_audited
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")

PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


def active(work: UnitOfWork, algorithm: str = "ES256") -> StoredSigningKey:
    stored = find_key(work, algorithm, KeyState.ACTIVE)
    assert stored is not None
    return stored


def relieve(work: UnitOfWork) -> StoredSigningKey:
    """Another key in the active one's place."""
    previous = active(work)
    previous.state, previous.remove_after = KeyState.RETIRING, work.now + timedelta(days=1)
    work.db.flush()
    return store_key(work, generate_key("ES256"), "ES256", KeyState.ACTIVE)


def test_each_algorithm_has_one_active_key_when_the_deployment_starts(work: UnitOfWork) -> None:
    before = {stored.kid for stored in list_keys(work)}
    ensure_keys(work)
    keys = list_keys(work)
    assert {stored.kid for stored in keys} == before
    assert sorted((stored.algorithm, stored.state) for stored in keys) == sorted((a, "active") for a in ALGORITHMS)
    assert set(ALGORITHMS) == {"RS256", "PS256", "ES256", "EdDSA", "RSA-OAEP-256", "ECDH-ES"}
    assert len(audited(work, AuditEvent.SIGNING_KEY_CREATED)) == len(ALGORITHMS)


def test_missing_key_alone_is_made_when_the_deployment_starts(work: UnitOfWork) -> None:
    kept = active(work, "RS256").kid
    work.db.delete(active(work, "ES256"))
    work.db.flush()
    ensure_keys(work)
    assert active(work, "RS256").kid == kept
    row = last_audited(work, AuditEvent.SIGNING_KEY_CREATED)
    assert row.details == {"kid": active(work).kid, "algorithm": "ES256", "state": "active"}


def test_start_goes_on_when_another_replica_makes_the_key_in_the_same_moment(
    work: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [stored.kid for stored in list_keys(work)]
    # As a replica sees it that looked before the other one wrote.
    monkeypatch.setattr(signing_keys, "find_key", lambda *_: None)
    ensure_keys(work)
    assert [stored.kid for stored in list_keys(work)] == before


def test_private_key_is_encrypted_and_bound_to_its_row(work: UnitOfWork) -> None:
    stored = active(work)
    assert stored.private_encrypted is not None
    document = json.loads(
        work.runtime.keyring.decrypt(stored.private_encrypted, f"signing_keys.private_encrypted:{stored.kid}")
    )
    assert document["kid"] == stored.kid
    columns = " ".join(str(getattr(stored, column.name)) for column in StoredSigningKey.__table__.columns)
    assert document["d"] not in columns
    other = active(work, "RS256")
    other.private_encrypted = stored.private_encrypted
    work.runtime.parsed_keys.clear()
    with pytest.raises(KeyringError, match="altered or moved"):
        signing_key(work, "RS256")
    work.db.rollback()


def test_private_key_is_parsed_once_a_process(work: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[Any] = []
    real = jose.parse_private_key
    monkeypatch.setattr(jose, "parse_private_key", lambda document: parsed.append(1) or real(document))
    work.runtime.parsed_keys.clear()
    first = signing_key(work, "ES256")
    assert signing_key(work, "ES256") is first
    assert signing_key(work, "RS256") is not first
    assert len(parsed) == 2


def test_active_key_signs_what_the_published_keys_verify(work: UnitOfWork) -> None:
    for algorithm in jose.SIGNING_ALGORITHMS:
        token = jose.sign({"sub": "usr_1"}, signing_key(work, algorithm), algorithm, "JWT")
        assert jose.verify(token, published_keys(work)).claims == {"sub": "usr_1"}


def test_nothing_signs_when_there_is_no_active_key(work: UnitOfWork) -> None:
    with pytest.raises(NoSigningKey, match="no active signing key for HS256"):
        signing_key(work, "HS256")
    active(work).private_encrypted = None
    with pytest.raises(NoSigningKey, match="no active signing key for ES256"):
        signing_key(work, "ES256")
    work.db.rollback()


@pytest.mark.spec("RFC 7517 §4.2", "OpenID Connect Core §10.1")
def test_published_keys_say_what_they_are_for_and_hold_nothing_private(work: UnitOfWork) -> None:
    signing, everything = published_keys(work), jwk_set(work)
    assert {key["alg"] for key in signing} == set(jose.SIGNING_ALGORITHMS)
    assert {key["use"] for key in signing} == {"sig"}
    encrypting = [key for key in everything if key not in signing]
    assert {(key["kty"], key["use"], key.get("alg")) for key in encrypting} == {
        ("RSA", "enc", "RSA-OAEP-256"),
        ("EC", "enc", None),
    }
    assert len(everything) == len({key["kid"] for key in everything}) == len(ALGORITHMS)
    for key in everything:
        assert PRIVATE_MEMBERS.isdisjoint(key)


@pytest.mark.spec("OpenID Connect Core §10.2")
@pytest.mark.parametrize("algorithm", jwe.DECRYPTION_ALGORITHMS)
def test_what_is_encrypted_to_a_published_key_is_decrypted(work: UnitOfWork, algorithm: str) -> None:
    token = jwe.encrypt("a request", jwk_set(work), algorithm, "A256GCM")
    assert jwe.decrypt(token, decryption_keys(work)) == "a request"


@pytest.mark.spec("INV-05")
def test_key_that_others_encrypt_to_verifies_and_signs_nothing(work: UnitOfWork) -> None:
    encrypting = {str(key.kid) for key in decryption_keys(work)}
    assert len(encrypting) == len(ENCRYPTION_ALGORITHMS)
    assert encrypting.isdisjoint(key["kid"] for key in published_keys(work))
    kid = active(work, "ECDH-ES").kid
    forged = jose.sign({"sub": "usr_1"}, next(key for key in decryption_keys(work) if key.kid == kid), "ES256", "JWT")
    with pytest.raises(jose.InvalidToken):
        jose.verify(forged, published_keys(work))


@pytest.mark.parametrize("state", [KeyState.NEXT, KeyState.RETIRING])
def test_key_that_others_encrypt_to_is_published_while_it_is_active_and_decrypts_until_it_is_removed(
    work: UnitOfWork, clock: FrozenClock, state: KeyState
) -> None:
    stored = active(work, "ECDH-ES")
    token = jwe.encrypt("a request", jwk_set(work), "ECDH-ES", "A256GCM")
    stored.state, stored.remove_after = state, work.now + timedelta(seconds=60)
    work.db.flush()
    assert stored.kid not in {key["kid"] for key in jwk_set(work)}
    assert jwe.decrypt(token, decryption_keys(work)) == "a request"
    clock.advance(60)
    assert stored.kid not in {key.kid for key in decryption_keys(work)}


def test_retired_private_key_is_forgotten_when_it_is_removed(work: UnitOfWork) -> None:
    for algorithm in ("ES256", "RS256"):
        signing_key(work, algorithm)
    stored = active(work)
    assert stored.kid in work.runtime.parsed_keys
    stored.state, stored.private_encrypted = KeyState.REMOVED, None
    jwk_set(work)
    assert stored.kid not in work.runtime.parsed_keys
    assert active(work, "RS256").kid in work.runtime.parsed_keys


def test_earlier_key_signs_what_was_issued_in_its_time(work: UnitOfWork, clock: FrozenClock) -> None:
    first, began = active(work), work.now
    clock.advance(60)
    second = relieve(work)
    clock.advance(60)
    third = relieve(work)
    assert signing_key(work, "ES256").kid == third.kid
    assert signing_key(work, "ES256", work.now).kid == third.kid
    assert signing_key(work, "ES256", work.now - timedelta(seconds=1)).kid == second.kid
    assert signing_key(work, "ES256", began).kid == first.kid
    # What is older than every key that is published is signed by the one that signs now.
    assert signing_key(work, "ES256", began - timedelta(seconds=1)).kid == third.kid


def test_keys_are_published_unless_they_were_removed(work: UnitOfWork) -> None:
    stored = active(work)
    for state, is_published in (("next", True), ("retiring", True), ("removed", False), ("active", True)):
        stored.state = state
        work.db.flush()
        assert (stored.kid in [key["kid"] for key in published_keys(work)]) is is_published


@pytest.mark.parametrize("state", [KeyState.ACTIVE, KeyState.NEXT])
def test_second_key_in_the_same_place_is_refused(work: UnitOfWork, state: KeyState) -> None:
    if state is KeyState.NEXT:
        store_key(work, jose.generate_key("ES256"), "ES256", state)
    with pytest.raises(Conflict):
        store_key(work, jose.generate_key("ES256"), "ES256", state)
    assert len([stored for stored in list_keys(work) if (stored.algorithm, stored.state) == ("ES256", state)]) == 1


@pytest.mark.parametrize("state", ["active", "next"])
def test_second_key_in_the_same_place_is_refused_by_the_database_itself(gatepost: Gatepost, state: str) -> None:
    with gatepost.work() as work:
        store_key(work, jose.generate_key("ES256"), "ES256", KeyState.NEXT)
    with gatepost.work() as work:
        for stored in list_keys(work):
            if stored.algorithm == "ES256":
                stored.state = state
        with pytest.raises(IntegrityError):
            work.db.flush()
        work.db.rollback()


def test_many_keys_may_be_retiring_or_removed(work: UnitOfWork) -> None:
    for _ in range(3):
        store_key(work, jose.generate_key("ES256"), "ES256", KeyState.RETIRING)
        store_key(work, jose.generate_key("ES256"), "ES256", KeyState.REMOVED)
    assert len(list_keys(work)) == len(ALGORITHMS) + 6


def test_same_key_is_never_stored_twice(work: UnitOfWork) -> None:
    key = jose.generate_key("ES256")
    store_key(work, key, "ES256", KeyState.REMOVED)
    with pytest.raises(Conflict, match="already"):
        store_key(work, key, "ES256", KeyState.NEXT)


def test_stored_key_has_its_times(work: UnitOfWork) -> None:
    stored = active(work)
    assert stored.created_at == stored.activated_at == work.now
    upcoming = store_key(work, jose.generate_key("ES256"), "ES256", KeyState.NEXT)
    assert (upcoming.activated_at, upcoming.remove_after) == (None, None)


def test_key_is_found_by_its_id(work: UnitOfWork) -> None:
    assert get_key(work, active(work).kid) is active(work)
    with pytest.raises(NotFound, match="There is no signing key nowhere"):
        get_key(work, "nowhere")


def test_keys_are_listed_newest_first(work: UnitOfWork, clock: FrozenClock) -> None:
    clock.advance(1)
    second = store_key(work, jose.generate_key("ES256"), "ES256", KeyState.NEXT)
    clock.advance(1)
    third = store_key(work, jose.generate_key("EdDSA"), "EdDSA", KeyState.NEXT)
    assert [stored.kid for stored in list_keys(work)][:2] == [third.kid, second.kid]
