"""Making API keys, changing and rotating them: never with more than whoever does it has, nor for longer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict, Unpack

from sqlalchemy import case, or_, update

from server.domain import scopes
from server.domain.api_keys import ID_PREFIX, ApiKey, mac_of, record
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Denied, Invalid
from server.domain.organizations import Organization, hold_organization
from server.domain.policy import api_key_format, api_key_terms
from server.domain.policy.api_key_terms import MAXIMUM_DESCRIPTION, MAXIMUM_NAME, SCIM, SCIM_NEEDS, KeyKind
from server.domain.policy.environments import ENVIRONMENTS, Environment
from server.domain.scopes import Rights
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import why_unusable
from server.domain.users import User
from server.infra import secrets
from server.infra.database import count_changed

#: How long the old key may go on beside the new one.
MAXIMUM_OVERLAP: Final = 366 * 86400
#: What a key keeps when it is rotated.
_COPIED: Final = (
    "organization_id",
    "environment",
    "kind",
    "name",
    "description",
    "prefix",
    "permissions",
    "owner_id",
    "ip_allow_list",
    "rate_limit_per_minute",
)
_HINT_LENGTH: Final = 4


@dataclass(frozen=True)
class NewApiKey:
    """What a key is to be."""

    name: str
    permissions: Iterable[str]
    environment: Environment = "live"
    kind: KeyKind = "standard"
    description: str = ""
    #: By default the deployment's usual lifetime.
    expires_at: datetime | None = None
    never_expires: bool = False
    #: From where it may be used; empty for wherever its maker may come from.
    ip_allow_list: Sequence[str] = ()
    #: None for as often as its maker may.
    rate_limit_per_minute: int | None = None


@dataclass(frozen=True)
class Maker:
    """Whoever makes, changes or rotates a key, and what bounds it by."""

    #: None for no bounds.
    rights: Rights | None
    #: Whose rights bound the key as long as it lives.
    owner: User | None
    #: When the maker's own credential ends; None for never.
    expires_at: datetime | None = None
    #: From where that may be used; empty for anywhere.
    ip_allow_list: Sequence[str] = ()
    #: And how often; None for no limit of its own.
    rate_limit_per_minute: int | None = None


#: The command line: the key has no owner, and no bounds but its own permissions.
OPERATOR_MAKER: Final = Maker(rights=None, owner=None)


def issue_api_key(work: UnitOfWork, organization: Organization, new: NewApiKey, maker: Maker) -> tuple[ApiKey, str]:
    """Makes a key and returns it with its text, this once.

    Raises:
        Invalid: when the key cannot be so; `field` says what is wrong.
        Denied: when it would have more than its maker has, or the organization is suspended.
        NotFound: when the organization has just been removed.
    """
    _check_organization(work, organization.id)
    if new.environment not in ENVIRONMENTS:
        raise Invalid("environment", "The environment is live or test.")
    if new.kind not in api_key_terms.KINDS:
        raise Invalid("kind", "The kind is standard, restricted or scim.")
    networks = api_key_terms.check_networks(new.ip_allow_list) or list(maker.ip_allow_list)
    rate = maker.rate_limit_per_minute if new.rate_limit_per_minute is None else new.rate_limit_per_minute
    values = {
        "organization_id": organization.id,
        "environment": new.environment,
        "kind": new.kind,
        "name": api_key_terms.check_text("name", new.name, MAXIMUM_NAME, 1),
        "description": api_key_terms.check_text("description", new.description, MAXIMUM_DESCRIPTION),
        "prefix": api_key_terms.prefix_of(work.settings.api_key_prefixes, new.kind, new.environment),
        "permissions": _check_permissions(work, new, maker),
        "owner_id": maker.owner.id if maker.owner else None,
        "ip_allow_list": networks,
        "rate_limit_per_minute": api_key_terms.check_rate(rate),
        "expires_at": _end_of(work, new, maker),
    }
    _check_limits(networks, rate, maker)
    key, text = _add(work, ID_PREFIX + secrets.new_id(), values)
    record(work, AuditEvent.API_KEY_CREATED, key, kind=key.kind, permissions=key.permissions, **_ends(key))
    return key, text


class ApiKeyChanges(TypedDict, total=False):
    """What of a key may be changed."""

    name: str
    description: str
    ip_allow_list: Sequence[str]
    #: None for the deployment's own limit.
    rate_limit_per_minute: int | None


def update_api_key(work: UnitOfWork, key: ApiKey, maker: Maker, **changes: Unpack[ApiKeyChanges]) -> None:
    """Changes what is given and leaves the rest.

    Raises:
        Invalid: when the key cannot be so.
        Denied: when the key can do more than whoever changes it, or would.
        Conflict: when it has ended.
    """
    _check_going_on(work, key)
    _check_reach(key, maker)
    values: dict[str, Any] = {}
    if "name" in changes:
        values["name"] = api_key_terms.check_text("name", changes["name"], MAXIMUM_NAME, 1)
    if "description" in changes:
        values["description"] = api_key_terms.check_text("description", changes["description"], MAXIMUM_DESCRIPTION)
    if "ip_allow_list" in changes:
        values["ip_allow_list"] = api_key_terms.check_networks(changes["ip_allow_list"])
    if "rate_limit_per_minute" in changes:
        values["rate_limit_per_minute"] = api_key_terms.check_rate(changes["rate_limit_per_minute"])
    _check_limits(
        values.get("ip_allow_list", key.ip_allow_list),
        values.get("rate_limit_per_minute", key.rate_limit_per_minute),
        maker,
    )
    changed = sorted(name for name, value in values.items() if getattr(key, name) != value)
    if not changed:
        return
    for name in changed:
        setattr(key, name, values[name])
    key.updated_at = work.now
    work.db.flush()
    record(work, AuditEvent.API_KEY_UPDATED, key, changed=changed)


def rotate_api_key(work: UnitOfWork, key: ApiKey, overlap_seconds: int, maker: Maker) -> tuple[ApiKey, str]:
    """Makes a key in the place of this one, which goes on working for `overlap_seconds`; 0 ends it now.

    The new one is as the old one was made, and lives as long from now on. Of any number of simultaneous rotations one
    succeeds.

    Raises:
        Invalid: when the overlap is none.
        Denied: when the key can do more than whoever rotates it, or the organization is suspended.
        Conflict: when it has ended, or another key has taken its place.
    """
    if not 0 <= overlap_seconds <= MAXIMUM_OVERLAP:
        raise Invalid("overlap", "The old key can go on for 0 seconds up to a year.")
    _check_organization(work, key.organization_id)
    _check_going_on(work, key)
    _check_reach(key, maker)
    lifetime = key.expires_at - key.created_at if key.expires_at else None
    successor_id = ID_PREFIX + secrets.new_id()
    _replace(work, key, successor_id, work.now + timedelta(seconds=overlap_seconds))
    copied = {name: getattr(key, name) for name in _COPIED}
    if maker.owner is not None:
        # Whoever holds the new key now is whose rights bound it.
        copied["owner_id"] = maker.owner.id
    ends = [end for end in (lifetime and work.now + lifetime, maker.expires_at) if end is not None]
    successor, text = _add(work, successor_id, {**copied, "expires_at": min(ends, default=None)})
    record(
        work,
        AuditEvent.API_KEY_ROTATED,
        key,
        successor_id=successor_id,
        overlap_seconds=overlap_seconds,
        **_ends(successor),
    )
    return successor, text


def _replace(work: UnitOfWork, key: ApiKey, successor_id: str, end: datetime) -> None:
    """Gives the key a successor and an end, unless it has one: of several at once one sees its update succeed."""
    ends_later = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > end)
    is_going_on = (ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > work.now))
    replacing = (
        update(ApiKey)
        .where(ApiKey.id == key.id, ApiKey.replaced_by_id.is_(None), *is_going_on)
        .values(
            replaced_by_id=successor_id,
            expires_at=case((ends_later, end), else_=ApiKey.expires_at),
            updated_at=work.now,
        )
    )
    if not count_changed(work.db, replacing):
        raise Conflict("Another key has taken this one's place already, or it has ended.")
    work.db.refresh(key)


def _add(work: UnitOfWork, key_id: str, values: dict[str, Any]) -> tuple[ApiKey, str]:
    text = api_key_format.make(values["prefix"], secrets.new_secret()[: api_key_format.RANDOM_LENGTH])
    pepper = work.runtime.keyring.active
    parsed = api_key_format.parse((values["prefix"],), text)
    assert parsed is not None  # narrows the type: it was made just now
    key = ApiKey(
        **values,
        id=key_id,
        public_id=parsed.public_id,
        hint=text[-_HINT_LENGTH:],
        secret_mac=mac_of(work.runtime.keyring, pepper, text),
        pepper=pepper,
        created_at=work.now,
        updated_at=work.now,
    )
    work.db.add(key)
    work.db.flush()
    return key, text


def _check_organization(work: UnitOfWork, organization_id: str) -> None:
    if why_unusable(work.now, hold_organization(work, organization_id)) is not None:
        raise Denied("The organization is suspended: it gets no new keys.")


def _check_going_on(work: UnitOfWork, key: ApiKey) -> None:
    if why_unusable(work.now, key) is not None:
        raise Conflict("This key has ended; make a new one.")


def _check_permissions(work: UnitOfWork, new: NewApiKey, maker: Maker) -> list[str]:
    permissions = api_key_terms.check_permissions(new.kind, new.permissions)
    if new.kind == SCIM:
        _check_within(SCIM_NEEDS, maker)
        return permissions
    known = scopes.catalogue(work.settings)
    for permission in permissions:
        if permission in scopes.PERSONAL or not scopes.is_known(work.settings, permission):
            raise Invalid("permissions", f"There is no permission {permission} that a key could have.")
        if new.kind == "restricted" and permission in known and known[permission].implies:
            raise Invalid("permissions", f"{permission} implies others: a restricted key has them named one by one.")
    _check_within(permissions, maker)
    return permissions


def _check_reach(key: ApiKey, maker: Maker) -> None:
    """Who changes a key, or takes its successor, has all that it has."""
    _check_within(SCIM_NEEDS if key.kind == SCIM else key.permissions, maker)
    _check_limits(key.ip_allow_list, key.rate_limit_per_minute, maker)


def _check_limits(networks: Sequence[str], rate: int | None, maker: Maker) -> None:
    if not api_key_terms.is_within_networks(networks, maker.ip_allow_list):
        own = ", ".join(maker.ip_allow_list)
        raise Denied(f"The key you use is good from {own} alone, and so is every key it makes, changes or rotates.")
    if not api_key_terms.is_within_rate(rate, maker.rate_limit_per_minute):
        own = f"{maker.rate_limit_per_minute} requests in a minute"
        raise Denied(f"The key you use has {own}, and every key it makes, changes or rotates has no more.")


def _check_within(permissions: Iterable[str], maker: Maker) -> None:
    excess = maker.rights.excess(permissions) if maker.rights is not None else frozenset()
    if excess:
        raise Denied(f"A key can have no more than whoever makes it. You do not have: {', '.join(sorted(excess))}.")


def _end_of(work: UnitOfWork, new: NewApiKey, maker: Maker) -> datetime | None:
    end = api_key_terms.end_of(work.now, new.expires_at, work.settings.api_key_lifetime, never=new.never_expires)
    if maker.expires_at is None or (end is not None and end <= maker.expires_at):
        return end
    if new.expires_at is not None or new.never_expires:
        raise Denied("A key can live no longer than the credential it is made with.")
    return maker.expires_at


def _ends(key: ApiKey) -> dict[str, str | None]:
    return {"expires_at": key.expires_at.isoformat() if key.expires_at else None}
