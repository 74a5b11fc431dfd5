"""Key rotation: next becomes active, active becomes retiring, retiring leaves when nothing it signed can still live."""

from __future__ import annotations

from datetime import timedelta

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import Denied
from server.domain.policy.lifetimes import is_expired
from server.domain.signing_keys import (
    KeyState,
    StoredSigningKey,
    find_key,
    get_key,
    list_keys,
    store_key,
)
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose


def prepare_next_key(work: UnitOfWork, algorithm: str) -> StoredSigningKey:
    """Publishes the key that the next rotation will activate, so that verifiers have met it by then. Idempotent."""
    existing = find_key(work, algorithm, KeyState.NEXT)
    return existing or store_key(work, jose.generate_key(algorithm), algorithm, KeyState.NEXT)


def rotate_key(work: UnitOfWork, algorithm: str) -> StoredSigningKey:
    """Activates the published next key, or a new one, and retires the active one. Returns the key that signs now."""
    successor = find_key(work, algorithm, KeyState.NEXT)
    active = find_key(work, algorithm, KeyState.ACTIVE)
    if active is not None:
        _start_retiring(work, active)
    if successor is None:
        successor = store_key(work, jose.generate_key(algorithm), algorithm, KeyState.ACTIVE)
    else:
        successor.state, successor.activated_at = KeyState.ACTIVE, work.now
        work.db.flush()
    audit_log.record(work, AuditEvent.SIGNING_KEY_ROTATED, kid=successor.kid, algorithm=algorithm)
    remove_retired_keys(work)
    return successor


def import_key(work: UnitOfWork, pem: bytes, algorithm: str) -> StoredSigningKey:
    """Takes over a private key made elsewhere as the next one; `rotate_key` activates it.

    Raises:
        ValueError: when it is no suitable key.
        Denied: when a next key is waiting already.
    """
    if find_key(work, algorithm, KeyState.NEXT) is not None:
        raise Denied(f"A next {algorithm} key is waiting already; rotate first.")
    return store_key(work, jose.import_pem(pem, algorithm), algorithm, KeyState.NEXT)


def retire_key(work: UnitOfWork, kid: str) -> StoredSigningKey:
    """Takes a next or retiring key out of the JWKS at once; tokens it signed verify no longer.

    Raises:
        NotFound: when there is none.
        Denied: when it is the active one, which must be rotated first.
    """
    stored = get_key(work, kid)
    if stored.state == KeyState.ACTIVE:
        raise Denied("This key is signing. Rotate first, then retire it.")
    _remove(work, stored)
    return stored


def remove_retired_keys(work: UnitOfWork) -> None:
    """Takes the keys out of the JWKS whose last tokens have expired."""
    for stored in list_keys(work):
        if stored.state == KeyState.RETIRING and stored.remove_after and is_expired(work.now, stored.remove_after):
            _remove(work, stored)


def _start_retiring(work: UnitOfWork, stored: StoredSigningKey) -> None:
    stored.state = KeyState.RETIRING
    stored.remove_after = work.now + timedelta(seconds=work.settings.signing_key_retirement)
    # Before another key becomes active: the database allows one per algorithm.
    work.db.flush()


def _remove(work: UnitOfWork, stored: StoredSigningKey) -> None:
    if stored.state != KeyState.REMOVED:
        stored.state, stored.private_encrypted = KeyState.REMOVED, None
        work.db.flush()
        audit_log.record(work, AuditEvent.SIGNING_KEY_RETIRED, kid=stored.kid, algorithm=stored.algorithm)
