"""The one choke point for "may this still be used": every path asks here, so that nothing disabled still works."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, bindparam, or_, select

from server.domain.api_keys import ApiKey
from server.domain.clients import Client
from server.domain.grants import Grant
from server.domain.membership_records import Membership
from server.domain.organizations import Organization
from server.domain.policy.lifetimes import is_expired
from server.domain.sessions import Session, is_live
from server.domain.users import User

Entity = User | Client | Session | Grant | ApiKey | Organization | Membership | None


def why_unusable(now: datetime, *entities: Entity) -> str | None:
    """What stands in the way, for the log, or None when all of them may be used. An absent one stands in the way."""
    for entity in entities:
        reason = _why_one_is_unusable(now, entity)
        if reason is not None:
            return reason
    return None


def is_usable(now: datetime, *entities: Entity) -> bool:
    """Whether all of them may be used now."""
    return why_unusable(now, *entities) is None


def usable_grants(now: str) -> Select[str]:
    """The same question in SQL, for statements that decide it together with what they change.

    Args:
        now: the name of the parameter that says what time it is.
    """
    moment = bindparam(now, type_=Grant.__table__.c.expires_at.type)
    is_usable_now = (Grant.revoked_at.is_(None), Grant.expires_at > moment, User.disabled_at.is_(None))
    return select(Grant.id).join(User, User.id == Grant.user_id).where(*is_usable_now)


def is_key_usable(now: str, key: type[ApiKey] = ApiKey) -> ColumnElement[bool]:
    """The same of an API key, for the statement that finds it: one that ended is not found, as one that never was.

    Args:
        now: the name of the parameter that says what time it is.
        key: the keys by another name, where the statement has one for them.
    """
    moment = bindparam(now, type_=ApiKey.__table__.c.expires_at.type)
    return and_(key.revoked_at.is_(None), or_(key.expires_at.is_(None), key.expires_at > moment))


def _why_one_is_unusable(now: datetime, entity: Entity) -> str | None:
    match entity:
        case None:
            return "deleted"
        case User():
            return "user_disabled" if entity.disabled_at else None
        case Client():
            return _why_client_is_unusable(entity)
        case Session():
            return None if is_live(entity, now) else "session_ended"
        case Organization():
            return "organization_suspended" if entity.suspended_at else None
        case Membership():
            return "membership_suspended" if entity.suspended_at else None
        case Grant():
            return _why_over(now, "grant", entity.revoked_at, entity.expires_at)
        case ApiKey():
            return _why_over(now, "key", entity.revoked_at, entity.expires_at)


def _why_client_is_unusable(client: Client) -> str | None:
    if client.disabled_at:
        return "client_disabled"
    return "organization_suspended" if client.organization_suspended_at else None


def _why_over(now: datetime, name: str, revoked_at: datetime | None, expires_at: datetime | None) -> str | None:
    if revoked_at:
        return f"{name}_revoked"
    return f"{name}_expired" if expires_at and is_expired(now, expires_at) else None
