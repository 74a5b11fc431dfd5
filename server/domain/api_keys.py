"""API keys: credentials of an organization, shown once, kept as keyed digests, each in one environment.

They are made in `domain/api_key_issuing.py` and proven in `domain/api_key_verification.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    CursorResult,
    ForeignKey,
    String,
    Update,
    and_,
    any_,
    bindparam,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import NotFound
from server.domain.policy.environments import Environment
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base, count_changed
from server.infra.keyring import Keyring

ID_PREFIX: Final = "key_"
_PEPPER: Final = "api-keys.pepper"
#: So many keys end by one statement.
_BATCH: Final = 1_000


class ApiKey(Base):
    """One API key."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    #: The part of the key by which it is found; shown in lists.
    public_id: Mapped[str] = mapped_column(unique=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"), index=True)
    environment: Mapped[str]
    kind: Mapped[str]
    name: Mapped[str]
    description: Mapped[str]
    prefix: Mapped[str]
    #: The last four characters, by which a person tells keys apart.
    hint: Mapped[str]
    #: HMAC-SHA-256 of the whole key under the pepper.
    secret_mac: Mapped[str]
    #: The name of the keyring's key that the pepper is derived from.
    pepper: Mapped[str]
    permissions: Mapped[list[str]]
    #: Whose rights bound the key's; None for keys made by an operator. The key goes when the person does.
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    ip_allow_list: Mapped[list[str]]
    rate_limit_per_minute: Mapped[int | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None]
    #: The key that took its place by rotation.
    replaced_by_id: Mapped[str | None]
    #: Days before its end that the owner was last warned of.
    warned_days: Mapped[int | None]


def mac_of(keyring: Keyring, pepper: str, key_text: str) -> str:
    """What is stored of a key. A fast digest is right for 190 random bits, and useless without the pepper."""
    return secrets.keyed_digest(_pepper(keyring, pepper), key_text)


@lru_cache(maxsize=64)
def _pepper(keyring: Keyring, name: str) -> str:
    return keyring.derive_key(_PEPPER, name).hex()


def find_api_key(work: UnitOfWork, organization_id: str, environment: Environment, key_id: str) -> ApiKey | None:
    """The key of this id in the organization and environment, or None."""
    key = work.db.get(ApiKey, key_id) if key_id.startswith(ID_PREFIX) else None
    is_here = key is not None and (key.organization_id, key.environment) == (organization_id, environment)
    return key if is_here else None


def get_api_key(work: UnitOfWork, organization_id: str, environment: Environment, key_id: str) -> ApiKey:
    """The key of this id in the organization and environment.

    Raises:
        NotFound: when there is none there; what is elsewhere is not there.
    """
    key = find_api_key(work, organization_id, environment, key_id)
    if key is None:
        raise NotFound("There is no such API key.")
    return key


def list_api_keys(work: UnitOfWork, organization_id: str, environment: Environment) -> Sequence[ApiKey]:
    """The keys of the organization in the environment, whatever their state, newest first."""
    query = select(ApiKey).where(ApiKey.organization_id == organization_id, ApiKey.environment == environment)
    return work.db.scalars(query.order_by(ApiKey.created_at.desc(), ApiKey.id)).all()


def page_api_keys(
    work: UnitOfWork,
    organization_id: str,
    environment: Environment,
    after: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> Sequence[ApiKey]:
    """At most `limit` of them, oldest first: those made after the one that was made then and has this id."""
    query = select(ApiKey).where(ApiKey.organization_id == organization_id, ApiKey.environment == environment)
    if after is not None:
        made, key_id = after
        query = query.where(or_(ApiKey.created_at > made, and_(ApiKey.created_at == made, ApiKey.id > key_id)))
    return work.db.scalars(query.order_by(ApiKey.created_at, ApiKey.id).limit(limit)).all()


def revoke_api_key(work: UnitOfWork, key: ApiKey, reason: str) -> None:
    """Ends the key, at once and everywhere. Idempotent."""
    ending = (
        update(ApiKey)
        .where(ApiKey.id == key.id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=work.now, revoked_reason=reason, updated_at=work.now)
    )
    if count_changed(work.db, ending):
        work.db.refresh(key)
        record(work, AuditEvent.API_KEY_REVOKED, key, reason=reason)


def revoke_keys_of_owner(work: UnitOfWork, organization_id: str, user_id: str, reason: str) -> int:
    """Ends all keys in the organization that this person answers for; returns how many did not end before."""
    query = select(ApiKey).where(ApiKey.organization_id == organization_id, ApiKey.owner_id == user_id)
    going_on = work.db.scalars(query.where(ApiKey.revoked_at.is_(None)).order_by(ApiKey.id)).all()
    for key in going_on:
        revoke_api_key(work, key, reason)
    return len(going_on)


def revoke_api_keys(
    work: UnitOfWork,
    organization_id: str | None,
    *,
    environment: Environment | None = None,
    prefix: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> int:
    """Ends all keys that fit, in one transaction and with one audit row; returns how many were not revoked before.

    Args:
        work: where it happens.
        organization_id: whose keys; None for those of every organization.
        environment: in which one; by default in both.
        prefix: what the keys begin with, up to the whole public part of one.
        created_after: made then or later.
        created_before: made earlier than then.
    """
    wanted: dict[str, tuple[Any, Callable[[Any], ColumnElement[bool]]]] = {
        "organization_id": (organization_id, lambda value: ApiKey.organization_id == value),
        "environment": (environment, lambda value: ApiKey.environment == value),
        "prefix": (prefix, lambda value: (ApiKey.prefix + ApiKey.public_id).startswith(value, autoescape=True)),
        "created_after": (created_after, lambda value: ApiKey.created_at >= value),
        "created_before": (created_before, lambda value: ApiKey.created_at < value),
    }
    given = {name: value for name, (value, _) in wanted.items() if value is not None}
    conditions = [wanted[name][1](value) for name, value in given.items()]
    fitting = and_(ApiKey.revoked_at.is_(None), *conditions)
    ending = update(ApiKey).values(revoked_at=work.now, revoked_reason="bulk", updated_at=work.now)
    if work.db.get_bind().dialect.name == "sqlite":
        count = count_changed(work.db, ending.where(fitting))
    else:
        count = _end_in_parts(work, fitting, ending)
    work.db.expire_all()
    told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in given.items()}
    audit_log.record(work, AuditEvent.API_KEYS_REVOKED, count=count, **told)
    return count


def _end_in_parts(work: UnitOfWork, fitting: ColumnElement[bool], ending: Update) -> int:
    """On PostgreSQL no statement may take longer than requests wait."""
    among = ApiKey.id == any_(bindparam("ids", type_=ARRAY(String)))
    some = ending.where(among, ApiKey.revoked_at.is_(None)).execution_options(synchronize_session=False)
    count = 0
    with closing(work.db.scalars(select(ApiKey.id).where(fitting), execution_options={"yield_per": _BATCH})) as found:
        for ids in found.partitions():
            result = work.db.execute(some, {"ids": ids})
            assert isinstance(result, CursorResult)  # narrows the type: only a SELECT has another
            count += result.rowcount
    return count


def record(work: UnitOfWork, event: AuditEvent, key: ApiKey, **details: audit_log.Detail) -> None:
    """Writes an audit row about the key."""
    details = {"organization_id": key.organization_id, "environment": key.environment, **details}
    audit_log.record(work, event, user_id=key.owner_id, client_id=None, key_id=key.id, **details)
