"""Which API keys should somebody look at? Those that end soon, of which their owners are warned, and the unused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, or_, select, update

from server.domain.api_key_mail import mail_about_key
from server.domain.api_keys import ApiKey, record
from server.domain.audit_events import AuditEvent
from server.domain.credential_usage import CredentialUsage
from server.domain.policy.environments import Environment
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_key_usable
from server.infra.database import count_changed

#: So many days before a key ends its owner is told, each time once.
WARNINGS: Final = (30, 7, 1)


def keys_expiring_soon(
    work: UnitOfWork, organization_id: str, environment: Environment, days: int = 30
) -> Sequence[ApiKey]:
    """The keys that end within so many days and that no other key replaces, the next to end first."""
    is_ending = and_(ApiKey.expires_at <= work.now + timedelta(days=days), ApiKey.replaced_by_id.is_(None))
    return _keys(work, organization_id, environment, is_ending)


def keys_unused(work: UnitOfWork, organization_id: str, environment: Environment, days: int = 90) -> Sequence[ApiKey]:
    """The keys as old as that which nobody used for so many days, or ever."""
    since = work.now - timedelta(days=days)
    is_used = exists().where(
        CredentialUsage.kind == "api_key",
        CredentialUsage.credential_id == ApiKey.id,
        CredentialUsage.last_used_at > since,
    )
    return _keys(work, organization_id, environment, and_(ApiKey.created_at <= since, ~is_used))


def _keys(
    work: UnitOfWork, organization_id: str, environment: Environment, condition: ColumnElement[bool]
) -> Sequence[ApiKey]:
    is_here = and_(ApiKey.organization_id == organization_id, ApiKey.environment == environment)
    query = select(ApiKey).where(is_here, is_key_usable("now"), condition)
    return work.db.scalars(query.order_by(ApiKey.expires_at, ApiKey.id), {"now": work.now}).all()


def warn_of_expiring_keys(work: UnitOfWork, limit: int = 500) -> int:
    """Warns of keys that end within 30, 7 and 1 days, each time once; returns of how many, at most `limit`."""
    is_due = or_(*(_is_due(work, days) for days in WARNINGS))
    query = select(ApiKey).where(is_key_usable("now"), ApiKey.replaced_by_id.is_(None), is_due).limit(limit)
    warned = 0
    for key in work.db.scalars(query, {"now": work.now}).all():
        assert key.expires_at is not None  # narrows the type: only such keys are found
        days = next(days for days in reversed(WARNINGS) if key.expires_at <= work.now + timedelta(days=days))
        # Of several processes that found it, one warns.
        if count_changed(work.db, update(ApiKey).where(ApiKey.id == key.id, _is_news(days)).values(warned_days=days)):
            record(work, AuditEvent.API_KEY_EXPIRING, key, days=days, expires_at=key.expires_at.isoformat())
            mail_about_key(
                work,
                key,
                f"The API key {key.name} ends soon",
                f"It ends on {key.expires_at:%d %B %Y, %H:%M} UTC; from then on whatever uses it is refused.\n\n"
                "Rotate it to get a new one: the old one can go on beside it until everything uses the new one.",
            )
            warned += 1
    return warned


def _is_due(work: UnitOfWork, days: int) -> ColumnElement[bool]:
    return and_(ApiKey.expires_at <= work.now + timedelta(days=days), _is_news(days))


def _is_news(days: int) -> ColumnElement[bool]:
    return or_(ApiKey.warned_days.is_(None), ApiKey.warned_days > days)
