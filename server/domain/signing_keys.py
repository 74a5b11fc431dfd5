"""Signing keys: in the database, encrypted under the keyring, one active key per algorithm over all replicas.

States: `next` (published, not yet signing) → `active` (signing) → `retiring` (published until the tokens it signed have
expired) → `removed`. A private key is parsed once per process.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Index, select, text
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, NotFound
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose
from server.infra.database import Base, columns_of, detached, insert_if_absent


class KeyState(StrEnum):
    """What a signing key is used for."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    REMOVED = "removed"


PUBLISHED = (KeyState.ACTIVE, KeyState.NEXT, KeyState.RETIRING)


class NoSigningKey(Exception):
    """The deployment has no key to sign with: never the fault of whoever asks for a token."""


class StoredSigningKey(Base):
    """One key pair; the private half is encrypted, and erased when the key is removed."""

    __tablename__ = "signing_keys"
    __table_args__ = (
        # Two replicas that rotate at once cannot both win.
        Index(
            "ux_signing_keys_active",
            "algorithm",
            unique=True,
            sqlite_where=text("state = 'active'"),
            postgresql_where=text("state = 'active'"),
        ),
        Index(
            "ux_signing_keys_next",
            "algorithm",
            unique=True,
            sqlite_where=text("state = 'next'"),
            postgresql_where=text("state = 'next'"),
        ),
    )

    kid: Mapped[str] = mapped_column(primary_key=True)
    algorithm: Mapped[str]
    state: Mapped[str]
    public_jwk: Mapped[dict[str, Any]]
    private_encrypted: Mapped[str | None]
    created_at: Mapped[datetime]
    activated_at: Mapped[datetime | None]
    #: When a retiring key leaves the JWKS.
    remove_after: Mapped[datetime | None]


def store_key(work: UnitOfWork, key: jose.SigningKey, algorithm: str, state: KeyState) -> StoredSigningKey:
    """Encrypts and stores a key pair.

    Raises:
        Conflict: when this very key is stored already, or another one has its place.
    """
    kid = str(key.kid)
    values = {
        "kid": kid,
        "algorithm": algorithm,
        "state": state.value,
        "public_jwk": jose.public_jwk(key),
        "private_encrypted": work.runtime.keyring.encrypt(jose.serialize_private_key(key), _context(kid)),
        "created_at": work.now,
        "activated_at": work.now if state is KeyState.ACTIVE else None,
    }
    if not insert_if_absent(work.db, StoredSigningKey, values):
        raise Conflict(f"This key is stored already, or there is another {algorithm} key in state {state}.")
    stored = get_key(work, kid)
    audit_log.record(work, AuditEvent.SIGNING_KEY_CREATED, kid=kid, algorithm=algorithm, state=state)
    return stored


def ensure_keys(work: UnitOfWork) -> None:
    """Makes an active key for each algorithm that has none. Safe to call from several replicas at once."""
    for algorithm in jose.SIGNING_ALGORITHMS:
        if find_key(work, algorithm, KeyState.ACTIVE) is None:
            # Another replica may be doing the same in this very moment; the database lets one win.
            with suppress(Conflict):
                store_key(work, jose.generate_key(algorithm), algorithm, KeyState.ACTIVE)


def find_key(work: UnitOfWork, algorithm: str, state: KeyState) -> StoredSigningKey | None:
    """The one key of this algorithm in this state (active or next), or None."""
    query = select(StoredSigningKey).where(StoredSigningKey.algorithm == algorithm, StoredSigningKey.state == state)
    return work.db.scalars(query).one_or_none()


def get_key(work: UnitOfWork, kid: str) -> StoredSigningKey:
    """The key of this `kid`.

    Raises:
        NotFound: when there is none.
    """
    stored = work.db.get(StoredSigningKey, kid)
    if stored is None:
        raise NotFound(f"There is no signing key {kid}.")
    return stored


def list_keys(work: UnitOfWork) -> Sequence[StoredSigningKey]:
    """All keys, newest first."""
    return work.db.scalars(select(StoredSigningKey).order_by(StoredSigningKey.created_at.desc())).all()


def signing_key(work: UnitOfWork, algorithm: str, at: datetime | None = None) -> jose.SigningKey:
    """The parsed key that signs `algorithm` now, or that signed at `at` if it is published still.

    Raises:
        NoSigningKey: when the deployment has none, which boot prevents.
    """
    signing = [key for key in _published(work) if key.algorithm == algorithm and key.activated_at is not None]
    if at is not None:
        signing = [key for key in signing if key.activated_at is not None and key.activated_at <= at] or signing
    stored = max(signing, key=_activated_last, default=None)
    if stored is None or stored.private_encrypted is None:
        raise NoSigningKey(f"There is no active signing key for {algorithm}.")
    parsed = work.runtime.parsed_keys.get(stored.kid)
    if parsed is None:
        parsed = jose.parse_private_key(work.runtime.keyring.decrypt(stored.private_encrypted, _context(stored.kid)))
        work.runtime.parsed_keys[stored.kid] = parsed
    return parsed


def _activated_last(key: StoredSigningKey) -> tuple[bool, datetime | None]:
    return key.state == KeyState.ACTIVE, key.activated_at


def published_keys(work: UnitOfWork) -> list[dict[str, Any]]:
    """The public JWKs of the JWKS document: what signs, what will sign, what may still have to be verified."""
    return [key.public_jwk for key in _published(work) if key.remove_after is None or key.remove_after > work.now]


def next_removal(work: UnitOfWork) -> datetime | None:
    """When the next key leaves the JWKS, if one is to."""
    return min((key.remove_after for key in _published(work) if key.remove_after is not None), default=None)


_PUBLISHED_KEYS: Final = (
    select(*columns_of(StoredSigningKey))
    .where(StoredSigningKey.state.in_(PUBLISHED))
    .order_by(StoredSigningKey.state, StoredSigningKey.created_at.desc())
)


def _published(work: UnitOfWork) -> Sequence[StoredSigningKey]:
    def load() -> Sequence[StoredSigningKey]:
        return [detached(StoredSigningKey, row) for row in work.read(_PUBLISHED_KEYS, {})]

    return work.from_registry("signing_keys", load) or ()


def _context(kid: str) -> str:
    return f"signing_keys.private_encrypted:{kid}"
