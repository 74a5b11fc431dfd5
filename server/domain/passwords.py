"""Passwords: set, verified, rehashed when the parameters change (RFC 9106)."""

from __future__ import annotations

import unicodedata
from typing import Final

from sqlalchemy import bindparam, select

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import Invalid
from server.domain.policy.password_strength import MAXIMUM_BYTES, names_of, why_unacceptable
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from server.infra import common_passwords

_PRESENT: Final = select(User.password_hash, User.disabled_at).where(User.id == bindparam("user_id")).with_for_update()


def _normalized(password: str) -> str:
    """NFC (RFC 8265 §4.2): the same letters from another keyboard are the same password. Nothing is trimmed."""
    return unicodedata.normalize("NFC", password)


def set_password(work: UnitOfWork, user: User, password: str) -> None:
    """Gives the person a new password.

    Raises:
        Invalid: with the sentence that says why it is too weak.
    """
    names = names_of(user.email, user.name, work.settings.issuer_name)
    fault = why_unacceptable(password, work.settings.password_minimum_length, names, common_passwords)
    if fault is not None:
        raise Invalid("password", fault)
    user.password_hash = work.runtime.password_hasher.hash(_normalized(password))
    user.updated_at = work.now
    audit_log.record(work, AuditEvent.USER_PASSWORD_CHANGED, user_id=user.id)


def verify_password(work: UnitOfWork, user: User | None, password: str) -> bool:
    """Whether `password` is the person's; takes the same time when there is no such person."""
    if len(password.encode()) > MAXIMUM_BYTES:
        return False
    hasher = work.runtime.password_hasher
    stored = user.password_hash if user is not None else None
    if not hasher.verify(stored, _normalized(password)) or user is None or stored is None:
        return False
    # Hashed before the row is locked: others are served meanwhile, and would wait for it.
    renewed = hasher.hash(_normalized(password)) if hasher.needs_rehash(stored) else None
    if not _is_unchanged(work, user, stored):
        return False
    if renewed is not None:
        user.password_hash = renewed
    return True


def _is_unchanged(work: UnitOfWork, user: User, stored: str) -> bool:
    """Whether the person may still sign in with it: hashing takes long enough for a reset or a suspension to happen."""
    row = work.db.execute(_PRESENT, {"user_id": user.id}).one_or_none()
    return row is not None and row.password_hash == stored and row.disabled_at == user.disabled_at
