"""Users: the people who sign in. A user's id is their `sub`: random, never reassigned (OpenID Connect Core §5.7)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Invalid, NotFound
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base, columns_of, detached

#: Keeps a `sub` apart from every client id, which may not begin so (RFC 9700 §4.15).
ID_PREFIX: Final = "usr_"
_MAXIMUM_NAME: Final = 200
_EMAIL: Final = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,189}")


class User(Base):
    """A person with an account."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    #: The address as it is compared: normalised and without case.
    email_key: Mapped[str] = mapped_column(unique=True)
    email_verified: Mapped[bool]
    name: Mapped[str | None]
    #: Further standard claims by their OpenID Connect names.
    claims: Mapped[dict[str, Any]]
    password_hash: Mapped[str | None]
    #: Made by `gatepost dev`; production refuses to start while it exists.
    is_demo: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]

    @property
    def display_name(self) -> str:
        """The name, or the address of somebody who gave none."""
        return self.name or self.email


_BY_EMAIL: Final = select(User).where(User.email_key == bindparam("email_key"))
_READ_BY_EMAIL: Final = select(*columns_of(User)).where(User.email_key == bindparam("email_key"))


def email_key(email: str) -> str:
    """How an address is compared: NFKC, without case and surrounding space."""
    return unicodedata.normalize("NFKC", email.strip()).casefold()


def is_email_address(address: str) -> bool:
    """Whether mail could be sent there, as far as its form tells."""
    return bool(_EMAIL.fullmatch(address) and _EMAIL.fullmatch(email_key(address)))


def is_name(name: str) -> bool:
    """Whether it can stand on one line: no control characters, line ends or halves of characters."""
    unfit = {"Cc", "Cs", "Zl", "Zp"}
    return 0 < len(name) <= _MAXIMUM_NAME and not any(unicodedata.category(each) in unfit for each in name)


def create_user(
    work: UnitOfWork,
    email: str,
    *,
    name: str | None = None,
    claims: dict[str, Any] | None = None,
    email_verified: bool = False,
    is_demo: bool = False,
) -> User:
    """Adds a person, without a password as yet.

    Raises:
        Invalid: when the address is none, or the name cannot be shown.
        Conflict: when somebody has it already.
    """
    address = email.strip()
    if not is_email_address(address):
        raise Invalid("email", "This is not an email address.")
    if name is not None and not is_name(name):
        raise Invalid("name", f"A name has 1 to {_MAXIMUM_NAME} printable characters.")
    if find_user_by_email(work, address) is not None:
        raise Conflict(f"There is a user with the address {address} already.")
    user = User(
        id=ID_PREFIX + secrets.new_id(),
        email=address,
        email_key=email_key(address),
        email_verified=email_verified,
        name=name,
        claims=claims or {},
        is_demo=is_demo,
        created_at=work.now,
        updated_at=work.now,
    )
    work.db.add(user)
    work.db.flush()
    audit_log.record(work, AuditEvent.USER_CREATED, user_id=user.id)
    return user


def find_user(work: UnitOfWork, user_id: str) -> User | None:
    """The user of this id, or None."""
    return work.db.get(User, user_id)


def find_user_by_email(work: UnitOfWork, email: str) -> User | None:
    """The user of this address, whatever its case, or None."""
    key = email_key(email)
    if not _EMAIL.fullmatch(key):
        return None
    return work.db.scalars(_BY_EMAIL, {"email_key": key}).one_or_none()


def read_user_by_email(work: UnitOfWork, email: str) -> User | None:
    """As `find_user_by_email`, for reading only."""
    key = email_key(email)
    rows = work.read(_READ_BY_EMAIL, {"email_key": key}) if _EMAIL.fullmatch(key) else ()
    return detached(User, rows[0]) if rows else None


def get_user(work: UnitOfWork, id_or_email: str) -> User:
    """The user of this id or address.

    Raises:
        NotFound: when there is none.
    """
    by_id = find_user(work, id_or_email) if id_or_email.startswith(ID_PREFIX) else None
    user = by_id or find_user_by_email(work, id_or_email)
    if user is None:
        raise NotFound(f"There is no user {id_or_email}.")
    return user


def list_users(work: UnitOfWork) -> Sequence[User]:
    """All users, oldest first."""
    return work.db.scalars(select(User).order_by(User.created_at, User.id)).all()


def has_demo_user(work: UnitOfWork) -> bool:
    """Whether `gatepost dev` seeded this database."""
    return work.db.scalars(select(User.id).where(User.is_demo)).first() is not None


def disable_user(work: UnitOfWork, user: User) -> None:
    """Suspends the person: nothing of theirs works, at once and everywhere, until they are enabled. Idempotent."""
    if user.disabled_at is None:
        user.disabled_at = user.updated_at = work.now
        audit_log.record(work, AuditEvent.USER_DISABLED, user_id=user.id)


def enable_user(work: UnitOfWork, user: User) -> None:
    """Lets the person sign in again. Idempotent."""
    if user.disabled_at is not None:
        user.disabled_at, user.updated_at = None, work.now
        audit_log.record(work, AuditEvent.USER_ENABLED, user_id=user.id)


def delete_user(work: UnitOfWork, user: User) -> None:
    """Removes the person with their sessions, consents and grants. The id is never given to anybody else."""
    user_id = user.id
    work.db.delete(user)
    work.db.flush()
    audit_log.record(work, AuditEvent.USER_DELETED, user_id=user_id)
