"""The deployment's keys: in the database, encrypted under the keyring, one active key per algorithm over all replicas.

States of a signing key: `next` (published, not yet signing) → `active` (signing) → `retiring` (published until the
tokens it signed have expired) → `removed`. Beside them lie the keys that others encrypt to (`use` `enc`): of those the
active one alone is published, and a retiring one still decrypts. A private key is parsed once per process.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Index, bindparam, select, text
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, NotFound
from server.domain.policy.lifetimes import is_expired
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose, jwe
from server.infra.database import Base, columns_of, insert_if_absent, snapshot
from server.infra.registry_cache import REGISTRY_VERSION


class KeyState(StrEnum):
    """What a key is used for."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    REMOVED = "removed"


PUBLISHED = (KeyState.ACTIVE, KeyState.NEXT, KeyState.RETIRING)

#: One key serves every algorithm of its kind: `ECDH-ES` alone, and with any key wrapping.
ENCRYPTION_ALGORITHMS: Final = jwe.KEY_ALGORITHMS
ALGORITHMS: Final = (*jose.SIGNING_ALGORITHMS, *ENCRYPTION_ALGORITHMS)

#: Whoever waited for a turn sees what the one before him changed.
_AS_IT_IS: Final = {"populate_existing": True}


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
    #: When a retiring key leaves the JWKS, or left it; None when it was taken out by command, and is believed no more.
    remove_after: Mapped[datetime | None]


def generate_key(algorithm: str) -> jose.SigningKey:
    """A new key pair of one of `ALGORITHMS`; an RSA key takes a while, so nobody should wait for a lock meanwhile."""
    if algorithm in ENCRYPTION_ALGORITHMS:
        return jwe.generate_encryption_key(algorithm)
    return jose.generate_key(algorithm)


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
    missing = [algorithm for algorithm in ALGORITHMS if find_key(work, algorithm, KeyState.ACTIVE) is None]
    made = {algorithm: generate_key(algorithm) for algorithm in missing}
    if made:
        take_turn(work)
    for algorithm, key in made.items():
        # Another replica may have done the same meanwhile; the database lets one win.
        with suppress(Conflict):
            store_key(work, key, algorithm, KeyState.ACTIVE)


def take_turn(work: UnitOfWork) -> None:
    """Waits until nobody else changes keys: whoever does counts up this row. SQLite has one writer anyway."""
    work.db.execute(select(REGISTRY_VERSION.c.version).with_for_update())


def find_key(work: UnitOfWork, algorithm: str, state: KeyState) -> StoredSigningKey | None:
    """The one key of this algorithm in this state (active or next), or None."""
    query = select(StoredSigningKey).where(StoredSigningKey.algorithm == algorithm, StoredSigningKey.state == state)
    return work.db.scalars(query, execution_options=_AS_IT_IS).one_or_none()


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
    query = select(StoredSigningKey).order_by(StoredSigningKey.created_at.desc())
    return work.db.scalars(query, execution_options=_AS_IT_IS).all()


def signing_key(work: UnitOfWork, algorithm: str, at: datetime | None = None) -> jose.SigningKey:
    """The parsed key that signs `algorithm` now, or that signed at `at` if it is published still.

    Raises:
        NoSigningKey: when the deployment has none, which boot prevents.
    """

    def load() -> Sequence[tuple[datetime, StoredSigningKey]]:
        return _signers(work, algorithm)

    signers = work.from_registry(("signing_key", algorithm), load)
    if not signers:
        raise NoSigningKey(f"There is no active signing key for {algorithm}.")
    activated_at, stored = signers[0]
    if at is not None and activated_at > at:
        stored = next((earlier for since, earlier in signers if since <= at), stored)
    parsed = work.runtime.parsed_keys.get(stored.kid)
    return _parse(work, stored) if parsed is None else parsed


def _signers(work: UnitOfWork, algorithm: str) -> Sequence[tuple[datetime, StoredSigningKey]]:
    """The keys that sign or signed, and since when: first the active one, then the latest."""
    keys = [snapshot(StoredSigningKey, row) for row in work.read(_SIGNERS, {"algorithm": algorithm})]
    return [(key.activated_at, key) for key in keys if key.activated_at]


def _parse(work: UnitOfWork, stored: StoredSigningKey) -> jose.SigningKey:
    if stored.private_encrypted is None:
        raise NoSigningKey(f"There is no active signing key for {stored.algorithm}.")
    parsed = jose.parse_private_key(work.runtime.keyring.decrypt(stored.private_encrypted, _context(stored.kid)))
    work.runtime.parsed_keys[stored.kid] = parsed
    return parsed


def published_keys(work: UnitOfWork) -> list[dict[str, Any]]:
    """The public JWKs that tokens verify with: what signs, what will sign, what may still have to be verified."""

    def load() -> Sequence[tuple[dict[str, Any], datetime | None]]:
        return [(public_jwk, remove_after) for public_jwk, remove_after in work.read(_VERIFYING_KEYS, {})]

    now = work.now
    keys = work.from_registry("verifying_keys", load) or ()
    return [public_jwk for public_jwk, remove_after in keys if remove_after is None or remove_after > now]


def hint_keys(work: UnitOfWork) -> list[dict[str, Any]]:
    """The public JWKs that an ID token verifies with when it comes back: those of the session's time as well.

    A key leaves the JWKS when its tokens have expired, and a session lasts longer. What left by schedule is no less
    genuine for that; what was taken out by command has no `remove_after`, since anybody may have it.
    """

    def load() -> Sequence[tuple[dict[str, Any], datetime]]:
        return [(public_jwk, remove_after) for public_jwk, remove_after in work.read(_RETIRED_KEYS, {})]

    now, longest = work.now, timedelta(seconds=work.settings.session_lifetime)
    retired = work.from_registry("retired_keys", load) or ()
    return published_keys(work) + [jwk for jwk, removed_at in retired if removed_at <= now < removed_at + longest]


def jwk_set(work: UnitOfWork) -> list[dict[str, Any]]:
    """The public JWKs of the JWKS document: those that tokens verify with, and those that others encrypt to."""
    # Whoever encrypts takes any key that fits, so that the one to take is the only one there.
    encrypting = [
        key.public_jwk
        for key in kept_keys(work)
        if key.algorithm in ENCRYPTION_ALGORITHMS and key.state == KeyState.ACTIVE
    ]
    return published_keys(work) + encrypting


def decryption_keys(work: UnitOfWork) -> list[jose.SigningKey]:
    """The parsed keys that open what was encrypted to us, also by somebody who read the JWKS some time ago."""
    keys = [key for key in kept_keys(work) if key.algorithm in ENCRYPTION_ALGORITHMS and not is_over(work, key)]
    parsed = work.runtime.parsed_keys
    return [parsed[key.kid] if key.kid in parsed else _parse(work, key) for key in keys]


def is_over(work: UnitOfWork, key: StoredSigningKey) -> bool:
    """Whether the time of a retiring key has come to leave."""
    return key.remove_after is not None and is_expired(work.now, key.remove_after)


def next_removal(work: UnitOfWork) -> datetime | None:
    """When the next key leaves the JWKS, if one is to."""
    return min((key.remove_after for key in kept_keys(work) if key.remove_after is not None), default=None)


_SIGNERS: Final = (
    select(*columns_of(StoredSigningKey))
    .where(
        StoredSigningKey.algorithm == bindparam("algorithm"),
        StoredSigningKey.activated_at.is_not(None),
        # As those of removed keys are.
        StoredSigningKey.private_encrypted.is_not(None),
    )
    .order_by(StoredSigningKey.state, StoredSigningKey.activated_at.desc())
)
_VERIFYING_KEYS: Final = (
    select(StoredSigningKey.public_jwk, StoredSigningKey.remove_after)
    .where(StoredSigningKey.algorithm.in_(jose.SIGNING_ALGORITHMS), StoredSigningKey.state.in_(PUBLISHED))
    .order_by(StoredSigningKey.state, StoredSigningKey.created_at.desc())
)
_RETIRED_KEYS: Final = select(StoredSigningKey.public_jwk, StoredSigningKey.remove_after).where(
    StoredSigningKey.algorithm.in_(jose.SIGNING_ALGORITHMS),
    StoredSigningKey.state.in_((KeyState.RETIRING, KeyState.REMOVED)),
    StoredSigningKey.remove_after.is_not(None),
)
_KEPT_KEYS: Final = (
    select(*columns_of(StoredSigningKey))
    .where(StoredSigningKey.state.in_(PUBLISHED))
    .order_by(StoredSigningKey.state, StoredSigningKey.created_at.desc())
)


def kept_keys(work: UnitOfWork) -> Sequence[StoredSigningKey]:
    """All keys that are not removed, for reading: changing one changes nothing."""

    def load() -> Sequence[StoredSigningKey]:
        keys = [snapshot(StoredSigningKey, row) for row in work.read(_KEPT_KEYS, {})]
        _forget_all_but(work, {key.kid for key in keys})
        return keys

    return work.from_registry("signing_keys", load) or ()


def _forget_all_but(work: UnitOfWork, kids: set[str]) -> None:
    """A private key that was removed is in nobody's memory either."""
    parsed = work.runtime.parsed_keys
    for kid in parsed.keys() - kids:
        parsed.pop(kid, None)


def _context(kid: str) -> str:
    return f"signing_keys.private_encrypted:{kid}"
