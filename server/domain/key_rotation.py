"""Key rotation: next becomes active, active becomes retiring, retiring leaves when nothing it signed can still live.

By schedule, by command, or at once when a key has leaked. A verifier that keeps the JWKS for a day verifies every token
of a scheduled rotation, because the next key is published for longer than that before it signs. Every replica follows
the schedule; whoever comes first does what is due, and the others find it done.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import Denied
from server.domain.signing_keys import (
    ALGORITHMS,
    ENCRYPTION_ALGORITHMS,
    KeyState,
    StoredSigningKey,
    find_key,
    generate_key,
    get_key,
    is_over,
    kept_keys,
    list_keys,
    store_key,
    take_turn,
)
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose

#: How old the JWKS may be when a verifier fetches it: caches on the way keep it for a quarter of an hour, and a replica
#: or a clock may be late.
_UNDERWAY: Final = timedelta(minutes=16)


class Step(StrEnum):
    """What the schedule may ask for."""

    #: A next key beside the active one.
    PUBLISH = "publish"
    #: The next key has been published long enough to sign.
    ACTIVATE = "activate"
    #: A new key in the place of the one that others encrypt to.
    REPLACE = "replace"
    #: Keys whose last tokens have expired are to leave.
    REMOVE = "remove"


@dataclass(frozen=True)
class Due:
    """One step that the schedule asks for now."""

    algorithm: str
    step: Step

    @property
    def needs_key(self) -> bool:
        """Whether the step wants a new key: it is made beforehand, as nobody should wait for a lock that long."""
        return self.step in {Step.PUBLISH, Step.REPLACE}


def list_due(work: UnitOfWork) -> list[Due]:
    """What is due now; only read, so that the question locks nothing."""
    keys = kept_keys(work)
    over = {key.algorithm for key in keys if is_over(work, key)}
    due = [Due(algorithm, Step.REMOVE) for algorithm in ALGORITHMS if algorithm in over]
    places = {(key.algorithm, key.state): key for key in keys}
    for algorithm in ALGORITHMS:
        active, following = (places.get((algorithm, state)) for state in (KeyState.ACTIVE, KeyState.NEXT))
        step = _step_of(work, active, following)
        due += [Due(algorithm, step)] if step else []
    return due


def _step_of(work: UnitOfWork, active: StoredSigningKey | None, following: StoredSigningKey | None) -> Step | None:
    ends = _end_of_turn(work, active)
    if active is None or ends is None:
        return None
    if active.algorithm in ENCRYPTION_ALGORITHMS:
        return Step.REPLACE if work.now >= ends else None
    if following is None:
        return Step.PUBLISH if work.now >= ends - _notice(work) else None
    return Step.ACTIVATE if work.now >= max(ends, following.created_at + _notice(work)) else None


def _end_of_turn(work: UnitOfWork, active: StoredSigningKey | None) -> datetime | None:
    """When the active key is to be relieved; None when there is none, or when nothing but a command rotates."""
    if active is None or active.activated_at is None or work.settings.signing_key_rotation is None:
        return None
    return active.activated_at + timedelta(seconds=work.settings.signing_key_rotation)


def _notice(work: UnitOfWork) -> timedelta:
    """How long a key is published before it signs."""
    return timedelta(seconds=work.settings.signing_key_publication) + _UNDERWAY


def follow_schedule(work: UnitOfWork, due: Due, spare: jose.SigningKey | None) -> bool:
    """Does one step that was found due, unless somebody else has done it meanwhile; returns whether it did."""
    take_turn(work)
    if due not in list_due(work):
        return False
    if due.step is Step.PUBLISH:
        prepare_next_key(work, due.algorithm, spare)
    elif due.step is Step.REMOVE:
        remove_retired_keys(work)
    else:
        rotate_key(work, due.algorithm, spare)
    return True


def prepare_next_key(work: UnitOfWork, algorithm: str, spare: jose.SigningKey | None = None) -> StoredSigningKey:
    """Publishes the key that the next rotation will activate, so that verifiers have met it by then. Idempotent."""
    take_turn(work)
    existing = find_key(work, algorithm, KeyState.NEXT)
    return existing or store_key(work, spare or generate_key(algorithm), algorithm, KeyState.NEXT)


def rotate_key(
    work: UnitOfWork, algorithm: str, spare: jose.SigningKey | None = None, *, replacing: str | None = None
) -> StoredSigningKey:
    """Activates the published next key, or a new one, and retires the active one. Returns the key that signs now.

    `replacing` is the `kid` of the key that was active when the rotation was asked for: when it is active no longer,
    somebody else has rotated in the same moment, and once is enough.
    """
    take_turn(work)
    active = find_key(work, algorithm, KeyState.ACTIVE)
    if active is not None and replacing not in {None, active.kid}:
        return active
    successor = find_key(work, algorithm, KeyState.NEXT)
    if active is not None:
        _start_retiring(work, active)
    if successor is None:
        successor = store_key(work, spare or generate_key(algorithm), algorithm, KeyState.ACTIVE)
    else:
        successor.state, successor.activated_at = KeyState.ACTIVE, work.now
        work.db.flush()
    audit_log.record(work, AuditEvent.SIGNING_KEY_ROTATED, kid=successor.kid, algorithm=algorithm, emergency=False)
    remove_retired_keys(work)
    return successor


def rotate_in_emergency(work: UnitOfWork, algorithm: str, spare: jose.SigningKey | None = None) -> StoredSigningKey:
    """Takes every key of the algorithm out of the JWKS at once, and lets a new one sign. Returns that one.

    The waiting and the retiring ones too: they lay where the one lay that leaked. What they signed verifies no longer,
    and what earlier ones signed is no hint any more.
    """
    take_turn(work)
    for stored in list_keys(work):
        if stored.algorithm == algorithm:
            _disown(work, stored)
    successor = store_key(work, spare or generate_key(algorithm), algorithm, KeyState.ACTIVE)
    audit_log.record(work, AuditEvent.SIGNING_KEY_ROTATED, kid=successor.kid, algorithm=algorithm, emergency=True)
    return successor


def is_known_to_verifiers(work: UnitOfWork, stored: StoredSigningKey) -> bool:
    """Whether verifiers had the time to meet the key before it signed."""
    if stored.algorithm in ENCRYPTION_ALGORITHMS or stored.activated_at is None:
        return True
    return stored.activated_at >= stored.created_at + timedelta(seconds=work.settings.signing_key_publication)


def import_key(work: UnitOfWork, pem: bytes, algorithm: str) -> StoredSigningKey:
    """Takes over a private key made elsewhere as the next one; `rotate_key` activates it.

    Raises:
        ValueError: when it is no suitable key.
        Denied: when a next key is waiting already.
    """
    take_turn(work)
    if find_key(work, algorithm, KeyState.NEXT) is not None:
        raise Denied(f"A next {algorithm} key is waiting already; rotate first.")
    return store_key(work, jose.import_pem(pem, algorithm), algorithm, KeyState.NEXT)


def retire_key(work: UnitOfWork, kid: str) -> StoredSigningKey:
    """Takes a next or retiring key out of the JWKS at once; what it signed verifies no longer, and is no hint either.

    Raises:
        NotFound: when there is none.
        Denied: when it is the active one, which must be rotated first.
    """
    take_turn(work)
    stored = get_key(work, kid)
    if stored.state == KeyState.ACTIVE:
        raise Denied("This key is signing. Rotate first, then retire it.")
    _disown(work, stored)
    return stored


def remove_retired_keys(work: UnitOfWork) -> None:
    """Takes the keys out of the JWKS whose last tokens have expired."""
    take_turn(work)
    for stored in list_keys(work):
        if stored.state == KeyState.RETIRING and is_over(work, stored):
            _remove(work, stored)


def _start_retiring(work: UnitOfWork, stored: StoredSigningKey) -> None:
    stored.state = KeyState.RETIRING
    stored.remove_after = work.now + _retirement(work, stored.algorithm)
    # Before another key becomes active: the database allows one per algorithm.
    work.db.flush()


def _retirement(work: UnitOfWork, algorithm: str) -> timedelta:
    """How long tokens that the key signed are in use, or how long others may still encrypt to it."""
    settings = work.settings
    longest = timedelta(seconds=max(settings.access_token_lifetime, settings.id_token_lifetime))
    in_use = _notice(work) if algorithm in ENCRYPTION_ALGORITHMS else longest + _UNDERWAY
    return max(timedelta(seconds=settings.signing_key_retirement), in_use)


def _disown(work: UnitOfWork, stored: StoredSigningKey) -> None:
    """Removes the key before its time; nothing it signed is believed again, not even as a hint."""
    stored.remove_after = None
    _remove(work, stored)


def _remove(work: UnitOfWork, stored: StoredSigningKey) -> None:
    if stored.state != KeyState.REMOVED:
        stored.state, stored.private_encrypted = KeyState.REMOVED, None
        work.db.flush()
        audit_log.record(work, AuditEvent.SIGNING_KEY_RETIRED, kid=stored.kid, algorithm=stored.algorithm)
