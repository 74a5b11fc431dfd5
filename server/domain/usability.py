"""The one choke point for "may this still be used": every path asks here, so that nothing disabled still works."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Select, bindparam, select

from server.domain.clients import Client
from server.domain.grants import Grant
from server.domain.policy.lifetimes import is_expired
from server.domain.sessions import Session, is_live
from server.domain.users import User

Entity = User | Client | Session | Grant | None


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


def _why_one_is_unusable(now: datetime, entity: Entity) -> str | None:
    match entity:
        case None:
            return "deleted"
        case User():
            return "user_disabled" if entity.disabled_at else None
        case Client():
            return "client_disabled" if entity.disabled_at else None
        case Session():
            return None if is_live(entity, now) else "session_ended"
        case Grant():
            if entity.revoked_at:
                return "grant_revoked"
            return "grant_expired" if is_expired(now, entity.expires_at) else None
