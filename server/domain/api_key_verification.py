"""Proving an API key: one SELECT that finds it only while it may be used, none for a text that is no key.

A key that is unknown, wrong, revoked or expired is not found by the same statement in the same way; which of them it
was is looked up later, by whoever writes down the uses. So no answer, and not the time it takes, tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, NoReturn, TypeVar

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, or_, select
from sqlalchemy.orm import aliased

from server.config import Settings
from server.domain import scopes
from server.domain.api_keys import ApiKey, mac_of
from server.domain.membership_records import Membership
from server.domain.organizations import Organization
from server.domain.policy import api_key_format, api_key_terms
from server.domain.policy.api_key_terms import SCIM, SCIM_NEEDS
from server.domain.roles import CustomRole
from server.domain.scopes import Rights
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_key_usable, why_unusable
from server.domain.usage_recorder import PresentedKey
from server.domain.users import User
from server.infra.database import Base, columns_of, detached

T = TypeVar("T", bound=Base)

_KIND: Final = "api_key"
_UNKNOWN: Final = "unknown"


class KeyRefused(Exception):
    """The key opens nothing here and now; `reason` is for the log, to the outside all are the same."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class VerifiedApiKey:
    """A proven key, and what it may do now; for reading only."""

    key: ApiKey
    organization: Organization
    #: None for a key that an operator made.
    owner: User | None
    membership: Membership | None
    rights: Rights


def looks_like_api_key(settings: Settings, presented: str) -> bool:
    """Whether it begins as our keys do, so that it is one or nothing."""
    return presented.startswith(tuple(settings.api_key_prefixes.values()))


def verify_api_key(work: UnitOfWork, presented: str, *, for_scim: bool = False) -> VerifiedApiKey:
    """The key of this text, when it may be used now by whoever acts; the use is noted, and so is a refusal.

    Args:
        work: whose actor's address is compared with the key's allow-list.
        presented: the text as it came.
        for_scim: whether it is used for SCIM: keys of that kind are good for nothing else, and no others for that.

    Raises:
        KeyRefused: when it may not.
    """
    parsed = api_key_format.parse(work.settings.api_key_prefixes.values(), presented)
    if parsed is None:
        raise KeyRefused("malformed")
    keyring = work.runtime.keyring
    macs = tuple(mac_of(keyring, name, presented) for name in keyring.names)
    named = {f"mac{number}": mac for number, mac in enumerate(macs)}
    rows = work.read(_by_text(len(macs)), {"public_id": parsed.public_id, "now": work.now, **named})
    if not rows:
        work.runtime.usage.note_refusal(PresentedKey(parsed.public_id, macs, work.actor.ip), work.actor)
        raise KeyRefused(_UNKNOWN)
    return _verified(work, rows[0], for_scim=for_scim)


def verify_api_key_by_id(work: UnitOfWork, key_id: str) -> VerifiedApiKey:
    """The key of this id, for what was issued in exchange for it: as `verify_api_key`, without its text.

    Raises:
        KeyRefused: when it may not be used now.
    """
    rows = work.read(_BY_ID, {"key_id": key_id, "now": work.now})
    if not rows:
        raise KeyRefused(_UNKNOWN)
    return _verified(work, rows[0], for_scim=False)


_TABLES: Final = (ApiKey, Organization, User, Membership, CustomRole)
#: Where in a row the columns of each table end.
_ENDS: Final = list(accumulate(len(table.__table__.columns) for table in _TABLES))


def _finding(key: type[ApiKey], condition: ColumnElement[bool]) -> Select[Any]:
    is_owners = and_(Membership.user_id == key.owner_id, Membership.organization_id == key.organization_id)
    is_its_role = and_(CustomRole.organization_id == key.organization_id, CustomRole.name == Membership.role)
    columns = [getattr(key, name) for name in ApiKey.__table__.columns.keys()]  # noqa: SIM118 – not a dict
    return (
        select(*columns, *columns_of(*_TABLES[1:]))
        .join_from(key, Organization, Organization.id == key.organization_id)
        .join(User, User.id == key.owner_id, isouter=True)
        .join(Membership, is_owners, isouter=True)
        .join(CustomRole, is_its_role, isouter=True)
        .where(condition)
    )


@lru_cache(maxsize=64)
def _by_text(peppers: int) -> Select[Any]:
    """The key at or before the public part, if it has the whole text's digest under any of so many peppers.

    So a row is read whether or not there is such a key: how long it takes does not tell. How long the database takes
    to compare digests tells nothing either: nobody who has no pepper can choose them.
    """
    is_at_or_before = ApiKey.public_id <= bindparam("public_id")
    nearest = select(ApiKey).where(is_at_or_before).order_by(ApiKey.public_id.desc()).limit(1).subquery()
    key = aliased(ApiKey, nearest)
    is_proven = or_(*(key.secret_mac == bindparam(f"mac{number}") for number in range(peppers)))
    return _finding(key, _holds(is_proven) + _holds(is_key_usable("now", key)) == 2)


def _holds(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """1 or 0: a sum of them is worked out to its end, where a conjunction is given up at the first that fails."""
    return case((condition, 1), else_=0)


_BY_ID: Final = _finding(ApiKey, and_(ApiKey.id == bindparam("key_id"), is_key_usable("now")))


def _joined(table: type[T], values: Sequence[Any]) -> T | None:
    """What was joined where there was any; the id comes first."""
    return detached(table, values) if values[0] is not None else None


def _verified(work: UnitOfWork, row: Sequence[Any], *, for_scim: bool) -> VerifiedApiKey:
    """The key of the row with all it depends on, none of which may be disabled."""
    key, organization = detached(ApiKey, row[: _ENDS[0]]), detached(Organization, row[_ENDS[0] : _ENDS[1]])
    owner = _joined(User, row[_ENDS[1] : _ENDS[2]])
    membership = _joined(Membership, row[_ENDS[2] : _ENDS[3]])
    role = _joined(CustomRole, row[_ENDS[3] :])
    reason = why_unusable(work.now, organization, *((owner, membership) if key.owner_id is not None else ()))
    if reason is None and not api_key_terms.is_allowed_from(key.ip_allow_list, work.actor.ip):
        reason = "address_not_allowed"
    if reason is None and (key.kind == SCIM) is not for_scim:
        reason = "scim_only" if key.kind == SCIM else "not_for_scim"
    rights = _rights(work, key, membership, role)
    if reason is None and key.kind == SCIM and not rights.granted:
        reason = "owner_has_no_rights"
    if reason is not None:
        _refuse(work, key, reason)
    work.runtime.usage.note_use(_KIND, key.id, work.actor)
    return VerifiedApiKey(key, organization, owner, membership, rights)


def _rights(work: UnitOfWork, key: ApiKey, membership: Membership | None, role: CustomRole | None) -> Rights:
    """The key's permissions, as far as its owner has them now; an operator's key has no owner."""
    own = scopes.rights(work.settings, key.permissions)
    if key.owner_id is None:
        return own
    custom = role.permissions if role is not None else None
    bounds = scopes.rights_of_role(work.settings, membership.role if membership is not None else "", custom)
    if key.kind == SCIM:
        return own if bounds.allows_all(SCIM_NEEDS) else scopes.rights(work.settings, ())
    return own.within(bounds)


def _refuse(work: UnitOfWork, key: ApiKey, reason: str) -> NoReturn:
    work.runtime.usage.note_refusal(PresentedKey(key.public_id, (), work.actor.ip, reason), work.actor)
    raise KeyRefused(reason)
