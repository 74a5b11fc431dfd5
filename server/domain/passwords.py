"""Passwords: set, verified, rehashed when the parameters change (RFC 9106)."""

from __future__ import annotations

import unicodedata
from typing import Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm.attributes import set_committed_value

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import Invalid
from server.domain.policy.password_strength import MAXIMUM_BYTES, names_of, why_unacceptable
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from server.infra import common_passwords
from server.infra.database import table_of

_PRESENT: Final = select(User.password_hash, User.disabled_at).where(User.id == bindparam("user_id")).with_for_update()
_USERS: Final = table_of(User)
_RENEW: Final = (
    update(_USERS).where(_USERS.c.id == bindparam("user_id")).values(password_hash=bindparam("renewed_hash"))
)


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
    return is_password(work, user, password) and user is not None and still_opens(work, user, password)


def is_password(work: UnitOfWork, user: User | None, password: str) -> bool:
    """Whether `password` was the person's when they were read; takes the same time when there is no such person.

    The database is not asked. Hashing takes long enough for a reset or a suspension to happen: whoever relies on the
    answer asks `still_opens` too, or asks as much in the statement that relies on it.
    """
    if len(password.encode()) > MAXIMUM_BYTES:
        return False
    stored = user.password_hash if user is not None else None
    return work.runtime.password_hasher.verify(stored, _normalized(password))


def needs_renewal(work: UnitOfWork, user: User) -> bool:
    """Whether the person's hash was made with other parameters than today's."""
    return user.password_hash is not None and work.runtime.password_hasher.needs_rehash(user.password_hash)


def still_opens(work: UnitOfWork, user: User, password: str) -> bool:
    """Whether a password that was verified may still be signed in with; its hash is renewed if that is due.

    The person's row is held until the transaction is over.
    """
    # Hashed before the row is locked: others are served meanwhile, and would wait for it.
    renewed = work.runtime.password_hasher.hash(_normalized(password)) if needs_renewal(work, user) else None
    row = work.db.execute(_PRESENT, {"user_id": user.id}).one_or_none()
    if row is None or row.password_hash != user.password_hash or row.disabled_at != user.disabled_at:
        return False
    if renewed is not None:
        work.db.connection().execute(_RENEW, {"user_id": user.id, "renewed_hash": renewed})
        set_committed_value(user, "password_hash", renewed)
    return True
