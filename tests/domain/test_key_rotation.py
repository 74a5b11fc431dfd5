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
    Due,
    Step,
    follow_schedule,
    import_key,
    is_known_to_verifiers,
    list_due,
    prepare_next_key,
    remove_retired_keys,
    retire_key,
    rotate_in_emergency,
    rotate_key,
)
from server.domain.signing_keys import (
    KeyState,
    StoredSigningKey,
    decryption_keys,
    find_key,
    generate_key,
    get_key,
    hint_keys,
    jwk_set,
    list_keys,
    published_keys,
    signing_key,
)
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose, jwe
from server.infra.jose import InvalidToken
from server.web.oauth.well_known import JWKS_MAX_AGE
from tests.domain.factories import audited, last_audited
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

RETIREMENT = 7200
DAY = 86400
ROTATION = 30 * DAY
#: A day, and what caches on the way and a late replica may add.
NOTICE = DAY + 960
SIGNING = list(jose.SIGNING_ALGORITHMS)


@pytest.fixture
def gatepost(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    return make_gatepost(signing_key_retirement=RETIREMENT, signing_key_rotation=ROTATION)


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
    assert row.details == {"kid": new.kid, "algorithm": "ES256", "emergency": False}


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


# ------------------------------------------------------------------------------------------------------------ emergency


@pytest.mark.spec("R-14")
def test_new_key_signs_and_all_others_are_out_at_once_in_an_emergency(work: UnitOfWork, clock: FrozenClock) -> None:
    retiring = active(work)
    old_token = sign(work)
    leaked = rotate_key(work, "ES256")
    token = sign(work)
    waiting = prepare_next_key(work, "ES256")
    others = {active(work, algorithm).kid for algorithm in ("RS256", "PS256", "EdDSA")}
    clock.advance(60)
    fresh = rotate_in_emergency(work, "ES256")
    assert (fresh.state, fresh.activated_at) == (KeyState.ACTIVE, work.now)
    assert fresh.kid not in {retiring.kid, leaked.kid, waiting.kid}
    assert published(work) == {fresh.kid} | others
    for stored in (retiring, leaked, waiting):
        assert (stored.state, stored.private_encrypted) == (KeyState.REMOVED, None)
    for dead in (old_token, token):
        with pytest.raises(InvalidToken):
            jose.verify(dead, published_keys(work))
    assert jose.peek_header(sign(work))["kid"] == fresh.kid
    assert jose.verify(sign(work), published_keys(work))
    row = last_audited(work, AuditEvent.SIGNING_KEY_ROTATED)
    assert row.details == {"kid": fresh.kid, "algorithm": "ES256", "emergency": True}
    retired = [row.details["kid"] for row in audited(work, AuditEvent.SIGNING_KEY_RETIRED)]
    assert sorted(retired) == sorted([retiring.kid, leaked.kid, waiting.kid])


def hints(work: UnitOfWork, token: str) -> bool:
    """Whether the token is genuine when it comes back as a hint."""
    try:
        jose.verify(token, hint_keys(work))
    except InvalidToken:
        return False
    return True


@pytest.mark.parametrize("swept", [True, False])
@pytest.mark.spec("RP-Initiated Logout 1.0 §2")
def test_token_is_a_hint_for_as_long_as_a_session_when_its_key_left_by_schedule(
    work: UnitOfWork, clock: FrozenClock, swept: bool
) -> None:
    token = sign(work)
    rotate_key(work, "ES256")
    assert hints(work, token)
    clock.advance(RETIREMENT)
    if swept:
        remove_retired_keys(work)
    with pytest.raises(InvalidToken):
        jose.verify(token, published_keys(work))
    clock.advance(work.settings.session_lifetime - 0.001)
    assert hints(work, token)
    clock.advance(0.001)
    assert not hints(work, token)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("how", ["emergency", "retired"])
@pytest.mark.spec("R-14")
def test_token_is_no_hint_when_its_key_was_taken_out_by_command(
    work: UnitOfWork, clock: FrozenClock, how: str, left: bool
) -> None:
    stored, token = active(work), sign(work)
    rotate_key(work, "ES256")
    if left:
        clock.advance(RETIREMENT)
        remove_retired_keys(work)
    if how == "emergency":
        rotate_in_emergency(work, "ES256")
    else:
        retire_key(work, stored.kid)
    for _ in range(2):
        assert not hints(work, token)
        clock.advance(RETIREMENT)
    assert stored.remove_after is None


@pytest.mark.spec("R-14")
def test_leaked_private_key_is_in_no_memory_either_after_an_emergency(work: UnitOfWork) -> None:
    sign(work)
    leaked = active(work).kid
    assert leaked in work.runtime.parsed_keys
    rotate_in_emergency(work, "ES256")
    jwk_set(work)
    assert leaked not in work.runtime.parsed_keys


@pytest.mark.spec("R-14")
def test_what_was_encrypted_to_a_leaked_key_is_not_opened_any_more(work: UnitOfWork) -> None:
    token = jwe.encrypt("a request", jwk_set(work), "ECDH-ES", "A256GCM")
    fresh = rotate_in_emergency(work, "ECDH-ES")
    assert fresh.kid in {key["kid"] for key in jwk_set(work)}
    with pytest.raises(InvalidToken):
        jwe.decrypt(token, decryption_keys(work))


# ------------------------------------------------------------------------------------------------------------- at once


@pytest.mark.spec("R-15")
def test_rotation_that_somebody_else_did_meanwhile_is_not_repeated(work: UnitOfWork) -> None:
    before = active(work).kid
    first = rotate_key(work, "ES256", replacing=before)
    assert rotate_key(work, "ES256", replacing=before) is first
    assert rotate_key(work, "ES256", replacing=first.kid) is not first
    assert len(audited(work, AuditEvent.SIGNING_KEY_ROTATED)) == 2


@pytest.mark.spec("R-15")
def test_no_key_id_is_ever_used_again(work: UnitOfWork) -> None:
    before = {stored.kid for stored in list_keys(work)}
    for _ in range(20):
        rotate_in_emergency(work, "EdDSA")
    kids = [stored.kid for stored in list_keys(work)]
    assert len(kids) == len(set(kids)) == len(before) + 20
    assert [stored.state for stored in list_keys(work) if stored.algorithm == "EdDSA"].count(KeyState.ACTIVE) == 1


def test_spare_key_is_taken_when_a_new_one_is_needed(work: UnitOfWork) -> None:
    spares = [generate_key("ES256") for _ in range(3)]
    assert rotate_key(work, "ES256", spares[0]).kid == spares[0].kid
    assert prepare_next_key(work, "ES256", spares[1]).kid == spares[1].kid
    assert rotate_in_emergency(work, "ES256", spares[2]).kid == spares[2].kid


# ------------------------------------------------------------------------------------------------------------- schedule


def follow(work: UnitOfWork) -> dict[Step, list[str]]:
    """One round of one replica; the algorithms by what was done."""
    done: dict[Step, list[str]] = {}
    while due := next(iter(list_due(work)), None):
        assert follow_schedule(work, due, generate_key(due.algorithm) if due.needs_key else None)
        done.setdefault(due.step, []).append(due.algorithm)
    return done


@pytest.mark.spec("R-13")
def test_next_key_is_published_a_day_and_a_quarter_of_an_hour_before_it_signs(
    work: UnitOfWork, clock: FrozenClock
) -> None:
    old = active(work)
    clock.advance(ROTATION - NOTICE - 1)
    assert follow(work) == {}
    clock.advance(1)
    assert follow(work) == {Step.PUBLISH: SIGNING}
    following = find_key(work, "ES256", KeyState.NEXT)
    assert following is not None
    assert following.kid in published(work)
    assert jose.peek_header(sign(work))["kid"] == old.kid
    assert follow(work) == {}
    clock.advance(NOTICE - 1)
    assert follow(work) == {}
    clock.advance(1)
    assert follow(work)[Step.ACTIVATE] == SIGNING
    assert jose.peek_header(sign(work))["kid"] == following.kid
    assert (old.state, old.remove_after) == (KeyState.RETIRING, work.now + timedelta(seconds=RETIREMENT))
    assert is_known_to_verifiers(work, following)


@pytest.mark.spec("R-13")
def test_notice_is_longer_than_caches_on_the_way_add(work: UnitOfWork) -> None:
    assert NOTICE - work.settings.signing_key_publication >= JWKS_MAX_AGE


@pytest.mark.spec("R-13")
def test_late_next_key_is_still_published_long_enough_when_nobody_swept_for_months(
    work: UnitOfWork, clock: FrozenClock
) -> None:
    clock.advance(10 * ROTATION)
    assert follow(work)[Step.PUBLISH] == SIGNING
    clock.advance(NOTICE - 1)
    assert Step.ACTIVATE not in follow(work)
    clock.advance(1)
    assert follow(work)[Step.ACTIVATE] == SIGNING


@pytest.mark.spec("R-13")
def test_prepared_key_waits_for_the_end_of_the_active_ones_turn(work: UnitOfWork, clock: FrozenClock) -> None:
    prepared = prepare_next_key(work, "ES256")
    clock.advance(ROTATION - 1)
    follow(work)
    assert prepared.state == KeyState.NEXT
    clock.advance(1)
    assert follow(work)[Step.ACTIVATE] == ["ES256"]
    assert active(work) is prepared


@pytest.mark.spec("R-13")
def test_retired_key_leaves_by_itself(work: UnitOfWork, clock: FrozenClock) -> None:
    old = active(work)
    rotate_key(work, "ES256")
    clock.advance(RETIREMENT - 1)
    assert follow(work) == {}
    clock.advance(1)
    assert follow(work) == {Step.REMOVE: ["ES256"]}
    assert (old.state, old.private_encrypted) == (KeyState.REMOVED, None)
    assert follow(work) == {}


def test_key_that_others_encrypt_to_is_replaced_at_once_and_decrypts_for_a_while(
    work: UnitOfWork, clock: FrozenClock
) -> None:
    old = active(work, "RSA-OAEP-256")
    clock.advance(ROTATION - 1)
    token = jwe.encrypt("a request", jwk_set(work), "RSA-OAEP-256", "A256GCM")
    assert Step.REPLACE not in follow(work)
    clock.advance(1)
    assert follow(work)[Step.REPLACE] == ["RSA-OAEP-256", "ECDH-ES"]
    assert active(work, "RSA-OAEP-256").kid in {key["kid"] for key in jwk_set(work)}
    assert old.kid not in {key["kid"] for key in jwk_set(work)}
    # Whoever read the JWKS just before may use it as long as a verifier may.
    assert old.remove_after == work.now + timedelta(seconds=NOTICE)
    clock.advance(NOTICE - 1)
    assert jwe.decrypt(token, decryption_keys(work)) == "a request"
    clock.advance(1)
    follow(work)
    assert (old.state, old.private_encrypted) == (KeyState.REMOVED, None)
    with pytest.raises(InvalidToken):
        jwe.decrypt(token, decryption_keys(work))


def test_nothing_is_due_when_the_schedule_is_off_but_retired_keys_still_leave(
    make_gatepost: Callable[..., Gatepost],
) -> None:
    gatepost = make_gatepost(signing_key_rotation=None)
    with gatepost.work() as work:
        gatepost.clock.advance(1000 * DAY)
        assert list_due(work) == []
        rotate_key(work, "ES256")
        gatepost.clock.advance(2 * DAY)
        assert list_due(work) == [Due("ES256", Step.REMOVE)]


@pytest.mark.spec("R-13")
def test_old_key_stays_as_long_as_its_last_tokens_when_they_live_as_long_as_it_may_stay(
    make_gatepost: Callable[..., Gatepost],
) -> None:
    gatepost = make_gatepost(signing_key_retirement=3600)
    with gatepost.work() as work:
        old = active(work)
        rotate_key(work, "ES256")
        # A replica may sign with the old key for a moment after the rotation.
        assert old.remove_after == work.now + timedelta(seconds=3600 + 960)


@pytest.mark.spec("R-15")
def test_replica_that_comes_late_finds_everything_done(work: UnitOfWork, clock: FrozenClock) -> None:
    clock.advance(ROTATION - NOTICE)
    seen = list_due(work)
    assert [due.algorithm for due in seen] == SIGNING
    follow(work)
    kids = {stored.kid for stored in list_keys(work)}
    assert [follow_schedule(work, due, generate_key(due.algorithm)) for due in seen] == [False] * len(SIGNING)
    assert {stored.kid for stored in list_keys(work)} == kids


@pytest.mark.parametrize(
    ("algorithm", "waits", "is_known"), [("ES256", DAY - 1, False), ("ES256", DAY, True), ("ECDH-ES", 0, True)]
)
def test_verifiers_know_a_key_when_it_was_published_for_a_day(
    work: UnitOfWork, clock: FrozenClock, algorithm: str, waits: int, is_known: bool
) -> None:
    if waits:
        prepare_next_key(work, algorithm)
        clock.advance(waits)
    assert is_known_to_verifiers(work, rotate_key(work, algorithm)) is is_known
