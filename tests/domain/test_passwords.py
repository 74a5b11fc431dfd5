"""Passwords: normalised, bounded, rehashed when the parameters change, and as slow for nobody as for somebody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.config import Settings
from server.domain.audit_events import AuditEvent
from server.domain.errors import Invalid
from server.domain.passwords import set_password, verify_password
from server.domain.unit_of_work import UnitOfWork
from server.infra.password_hasher import PasswordHasher
from tests.domain.factories import audited, last_audited, make_user
from tests.support.clock import FrozenClock

GOOD = "correct horse battery staple"


class RecordingHasher(PasswordHasher):
    """Counts the argon2 runs it causes, and does them."""

    def __init__(self, settings: Settings) -> None:
        self.runs: list[str] = []
        super().__init__(settings)
        self.runs.clear()

    def hash(self, password: str) -> str:
        self.runs.append("hash")
        return super().hash(password)

    def verify(self, password_hash: str | None, password: str) -> bool:
        self.runs.append("verify" if password_hash else "verify the decoy")
        return super().verify(password_hash, password)


@pytest.fixture
def hasher(work: UnitOfWork) -> RecordingHasher:
    return RecordingHasher(work.settings)


@pytest.fixture
def recorded(work: UnitOfWork, hasher: RecordingHasher) -> UnitOfWork:
    """The same transaction with a hasher that counts."""
    return replace(work, runtime=replace(work.runtime, password_hasher=hasher))


@pytest.mark.spec("P-01")
def test_password_is_stored_as_argon2id_and_audited_when_set(work: UnitOfWork, clock: FrozenClock) -> None:
    user = make_user(work)
    clock.advance(60)
    set_password(work, user, GOOD)
    assert user.password_hash is not None
    assert user.password_hash.startswith("$argon2id$")
    assert GOOD not in user.password_hash
    assert user.updated_at == work.now
    row = last_audited(work, AuditEvent.USER_PASSWORD_CHANGED)
    assert (row.user_id, row.details) == (user.id, {})


def test_password_verifies_when_it_is_the_one(work: UnitOfWork) -> None:
    user = make_user(work, password=GOOD)
    assert verify_password(work, user, GOOD)


@pytest.mark.spec("P-02")
@pytest.mark.parametrize("wrong", ["", GOOD + " ", " " + GOOD, GOOD.upper(), GOOD[:-1], GOOD + "\0", "\0"])
def test_password_is_wrong_when_it_differs_at_all(work: UnitOfWork, wrong: str) -> None:
    user = make_user(work, password=GOOD)
    assert not verify_password(work, user, wrong)


def test_new_password_replaces_the_old_one(work: UnitOfWork) -> None:
    user = make_user(work, password=GOOD)
    set_password(work, user, "another password")
    assert verify_password(work, user, "another password")
    assert not verify_password(work, user, GOOD)


@pytest.mark.spec("RFC 8265 §4.2")
@pytest.mark.parametrize(
    ("chosen", "typed"),
    [
        ("seven grüne pässwörter", "seven gru\u0308ne pa\u0308sswo\u0308rter"),
        ("ｐainted violet herons", "ｐainted violet herons"),
    ],
)
def test_password_verifies_when_another_keyboard_composes_its_letters(
    work: UnitOfWork, chosen: str, typed: str
) -> None:
    user = make_user(work, password=chosen)
    assert verify_password(work, user, typed)
    set_password(work, user, typed)
    assert verify_password(work, user, chosen)


def test_password_keeps_compatibility_forms_apart(work: UnitOfWork) -> None:
    user = make_user(work, password="ｐainted violet herons")
    assert not verify_password(work, user, "painted violet herons")


@pytest.mark.parametrize(
    "weak",
    ["", "short", "x" * 14, "x" * 1025, "ä" * 513, "grace grace grace", "qwertyuiopasdfghjkl", "aaaaaaaaaaaaaaaa"],
)
def test_password_is_refused_and_the_old_one_stays_when_it_is_unacceptable(work: UnitOfWork, weak: str) -> None:
    user = make_user(work, password=GOOD)
    with pytest.raises(Invalid) as caught:
        set_password(work, user, weak)
    assert caught.value.field == "password"
    assert verify_password(work, user, GOOD)
    assert len(audited(work, AuditEvent.USER_PASSWORD_CHANGED)) == 2  # Ada's and this person's first one.


@pytest.mark.spec("P-02")
def test_password_is_taken_when_it_has_exactly_1024_bytes(work: UnitOfWork) -> None:
    longest = f"{GOOD} x" + "ä" * 497
    assert len(longest.encode()) == 1024
    user = make_user(work, password=longest)
    assert verify_password(work, user, longest)
    assert not verify_password(work, user, longest[:-1] + "a")


def test_password_that_grows_under_normalisation_is_accepted_at_sign_in_when_it_was_when_set(work: UnitOfWork) -> None:
    # U+FB2C is 3 bytes and becomes 6 under NFC.
    user = make_user(work, password=GOOD + "\ufb2c" * 300)
    assert verify_password(work, user, GOOD + "\ufb2c" * 300)


@pytest.mark.spec("P-07")
def test_overlong_password_is_wrong_without_hashing_it(
    recorded: UnitOfWork, hasher: RecordingHasher, work: UnitOfWork
) -> None:
    user = make_user(work, password=GOOD)
    assert not verify_password(recorded, user, "x" * 1025)
    assert not verify_password(recorded, None, "x" * 1025)
    assert hasher.runs == []


@pytest.mark.parametrize("password", [GOOD, "a wrong password", ""])
def test_same_work_is_done_when_there_is_no_such_person(
    recorded: UnitOfWork, hasher: RecordingHasher, password: str
) -> None:
    assert not verify_password(recorded, None, password)
    assert hasher.runs == ["verify the decoy"]


def test_same_work_is_done_when_the_person_has_no_password(
    recorded: UnitOfWork, hasher: RecordingHasher, work: UnitOfWork
) -> None:
    assert not verify_password(recorded, make_user(work), GOOD)
    assert hasher.runs == ["verify the decoy"]


@pytest.mark.parametrize("password", [GOOD, "a wrong password"])
def test_one_hash_is_computed_when_the_person_exists(
    recorded: UnitOfWork, hasher: RecordingHasher, work: UnitOfWork, password: str
) -> None:
    user = make_user(work, password=GOOD)
    verify_password(recorded, user, password)
    assert hasher.runs == ["verify"]


def with_parameters(work: UnitOfWork, **changes: int) -> UnitOfWork:
    hasher = PasswordHasher(work.settings.model_copy(update=changes))
    return replace(work, runtime=replace(work.runtime, password_hasher=hasher))


@pytest.mark.spec("P-06")
@pytest.mark.spec("RFC 9106 §4")
def test_hash_is_renewed_at_sign_in_when_the_parameters_changed(work: UnitOfWork) -> None:
    user = make_user(work, password=GOOD)
    before = user.password_hash
    stronger = with_parameters(work, argon2_time_cost=2)
    assert not verify_password(stronger, user, "a wrong password")
    assert user.password_hash == before
    assert verify_password(stronger, user, GOOD)
    assert user.password_hash is not None
    assert ",t=2," in user.password_hash
    assert verify_password(stronger, user, GOOD)


def test_hash_stays_when_the_parameters_did(work: UnitOfWork) -> None:
    user = make_user(work, password=GOOD)
    before = user.password_hash
    assert verify_password(work, user, GOOD)
    assert user.password_hash == before


@pytest.mark.spec("P-06")
def test_new_password_survives_when_an_old_hash_is_renewed_at_the_same_time(work: UnitOfWork) -> None:
    user = make_user(work, password=GOOD)
    stronger = InterruptedHasher(work, "UPDATE users SET password_hash = 'another'", argon2_time_cost=2)
    assert not verify_password(replace(work, runtime=replace(work.runtime, password_hasher=stronger)), user, GOOD)
    work.db.refresh(user)
    assert user.password_hash == "another"


class InterruptedHasher(PasswordHasher):
    """Something else happens in the database while a password is being verified."""

    def __init__(self, work: UnitOfWork, statement: str, **changes: int) -> None:
        super().__init__(work.settings.model_copy(update=changes))
        self.work, self.statement = work, statement

    def verify(self, password_hash: str | None, password: str) -> bool:
        self.work.db.flush()
        self.work.db.connection().exec_driver_sql(self.statement)
        return super().verify(password_hash, password)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE users SET password_hash = 'another'", id="reset"),
        pytest.param("UPDATE users SET password_hash = NULL", id="taken away"),
        pytest.param("DELETE FROM users", id="deleted"),
        pytest.param("UPDATE users SET disabled_at = created_at", id="suspended"),
    ],
)
def test_password_is_wrong_when_it_stopped_being_good_while_it_was_verified(work: UnitOfWork, statement: str) -> None:
    user = make_user(work, password=GOOD)
    interrupted = replace(work, runtime=replace(work.runtime, password_hasher=InterruptedHasher(work, statement)))
    assert not verify_password(interrupted, user, GOOD)
    work.db.rollback()
