"""The API keys of an organization: the list with its reports, and one of them with its use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import request
from flask.wrappers import Response

from server.domain import api_key_reports, api_keys, credential_usage
from server.domain.api_keys import ApiKey
from server.domain.credential_usage import CredentialUsage
from server.domain.policy.lifetimes import is_expired
from server.domain.users import User, find_user
from server.web.context import current_work
from server.web.dashboard.permissions import described
from server.web.dashboard.shell import Link, OrganizationShell
from server.web.dashboard.usage_chart import DAYS, usage_chart

EXPIRING_DAYS: Final = 30
UNUSED_DAYS: Final = 90
_PAGE_SIZE: Final = 50
KINDS: Final = {"standard": "Standard", "restricted": "Restricted", "scim": "SCIM"}
_NOTICES: Final = {
    "revoked": "The key is revoked. Whoever presents it is refused from now on.",
    "saved": "Saved.",
    "made": "This form has made this key already. A key is shown once: rotate it if you did not copy it.",
}


@dataclass(frozen=True)
class KeyState:
    """Whether a key works, in a word."""

    word: str
    kind: str = ""
    is_over: bool = False


@dataclass(frozen=True)
class KeyRow:
    """One key in the list."""

    key: ApiKey
    masked: str
    kind: str
    state: KeyState
    last_use: CredentialUsage | None
    url: str


def show_api_keys(shell: OrganizationShell) -> Response:
    """The list, or one of its reports."""
    asked, page = request.args.get("show", "active"), max(1, request.args.get("page", 1, int))
    keys = _reports(shell)
    shown = asked if asked in keys else "active"
    here = keys[shown][(page - 1) * _PAGE_SIZE : page * _PAGE_SIZE]
    tabs = [
        Link(f"{label} {len(keys[name])}", shell.url("api-keys") + f"?show={name}", is_current=name == shown)
        for name, label in _TABS.items()
    ]
    return shell.render(
        "dashboard/api_keys/list.html",
        notices=_NOTICES,
        rows=_rows(shell, here),
        shown=shown,
        tabs=tabs,
        has_any=any(keys.values()),
        page=page,
        pages=max(1, -(-len(keys[shown]) // _PAGE_SIZE)),
        here=shell.url("api-keys"),
        new_url=shell.url("api-keys", "new"),
    )


def show_api_key(shell: OrganizationShell, key_id: str) -> Response:
    """Everything about one key but the key itself."""
    key = api_keys.get_api_key(shell.work, shell.organization.id, shell.environment, key_id)
    usage = credential_usage.usage_of(shell.work, "api_key", key.id, DAYS)
    return shell.render(
        "dashboard/api_keys/detail.html",
        notices=_NOTICES,
        key=key,
        masked=masked(key),
        kind=KINDS[key.kind],
        state=state_of(key, shell.work.now),
        permissions=described(key.permissions),
        owner=owner_of(key),
        last_use=_rows(shell, [key])[0].last_use,
        chart=usage_chart(usage, shell.work.now.date()),
        successor=api_keys.find_api_key(shell.work, shell.organization.id, shell.environment, key.replaced_by_id or ""),
        list_url=shell.url("api-keys"),
        here=shell.url("api-keys", key.id),
    )


_TABS: Final = {
    "active": "In use",
    "expiring": "Expiring soon",
    "unused": f"Unused for {UNUSED_DAYS} days",
    "ended": "Ended",
}


def masked(key: ApiKey) -> str:
    """The key as it may always be shown."""
    return f"{key.prefix}…{key.hint}"


def state_of(key: ApiKey, now: datetime) -> KeyState:
    """Whether it works, and for how much longer."""
    if key.revoked_at is not None:
        return KeyState("Revoked", is_over=True)
    if key.expires_at is not None and is_expired(now, key.expires_at):
        return KeyState("Expired", is_over=True)
    if key.replaced_by_id is not None:
        return KeyState("Being replaced", "caution")
    if key.expires_at is not None and key.expires_at - now <= timedelta(days=EXPIRING_DAYS):
        return KeyState("Expires soon", "caution")
    return KeyState("Active")


def owner_of(key: ApiKey) -> User | None:
    """The person whose rights bound the key; None for keys that an operator made."""
    return find_user(current_work(), key.owner_id) if key.owner_id else None


def _reports(shell: OrganizationShell) -> dict[str, Sequence[ApiKey]]:
    work, organization_id, environment = shell.work, shell.organization.id, shell.environment
    keys = api_keys.list_api_keys(work, organization_id, environment)
    over = {key.id for key in keys if state_of(key, work.now).is_over}
    return {
        "active": [key for key in keys if key.id not in over],
        "expiring": api_key_reports.keys_expiring_soon(work, organization_id, environment, EXPIRING_DAYS),
        "unused": api_key_reports.keys_unused(work, organization_id, environment, UNUSED_DAYS),
        "ended": [key for key in keys if key.id in over],
    }


def _rows(shell: OrganizationShell, keys: Sequence[ApiKey]) -> list[KeyRow]:
    last = credential_usage.last_use_of(shell.work, "api_key", [key.id for key in keys])
    now = shell.work.now
    return [
        KeyRow(key, masked(key), KINDS[key.kind], state_of(key, now), last.get(key.id), shell.url("api-keys", key.id))
        for key in keys
    ]
