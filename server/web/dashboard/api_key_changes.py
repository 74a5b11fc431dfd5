"""Making, changing, rotating and revoking an API key. Only the answer to the POST shows what was made."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final, cast

from flask.wrappers import Response

from server.domain.api_key_issuing import Maker, NewApiKey, issue_api_key, rotate_api_key, update_api_key
from server.domain.api_keys import ApiKey, get_api_key, revoke_api_key
from server.domain.errors import Conflict, Invalid
from server.domain.policy import api_key_terms
from server.domain.policy.api_key_terms import MAXIMUM_RATE, SCIM, SCIM_NEEDS, KeyKind
from server.web.dashboard.api_keys import KINDS, masked, owner_of, state_of
from server.web.dashboard.once import form_id, made_before, note_made
from server.web.dashboard.page import check_all
from server.web.dashboard.permissions import (
    chosen_permissions,
    described,
    lines_of,
    permission_groups,
)
from server.web.dashboard.question import Question, ask
from server.web.dashboard.shell import Link, OrganizationShell

DEFAULT_DAYS: Final = "90"
NEVER: Final = "never"
ON_A_DAY: Final = "day"
EXPIRIES: Final = (
    ("7", "In 7 days"),
    ("30", "In 30 days"),
    (DEFAULT_DAYS, "In 90 days"),
    ("180", "In 180 days"),
    ("365", "In a year"),
    (ON_A_DAY, "On the day below"),
    (NEVER, "Never"),
)
OVERLAPS: Final = (
    ("0", "None", "The old key stops at once. Right when it has leaked."),
    ("3600", "1 hour", "Enough for one service that you deploy now."),
    ("86400", "24 hours", "Enough for a day’s deployments."),
    ("604800", "7 days", "Enough to ask other teams."),
    ("2592000", "30 days", "Enough to ask customers."),
)
_DEFAULT_OVERLAP: Final = "86400"


def show_new_api_key(shell: OrganizationShell) -> Response:
    """The form."""
    typed = tuple(shell.values("permissions"))
    return shell.render(
        "dashboard/api_keys/new.html",
        action=shell.url("api-keys"),
        back_url=shell.url("api-keys"),
        form_id=form_id(shell),
        may_scim=shell.rights.allows_all(SCIM_NEEDS),
        groups=permission_groups(shell.rights, typed),
        expiries=EXPIRIES,
        default_expiry=DEFAULT_DAYS,
    )


def create_api_key(shell: OrganizationShell) -> Response:
    """Makes the key and shows it, this once."""
    new = _new_key(shell)
    made = made_before(shell)
    if made is not None:
        return shell.redirect("api-keys", made, done="made")
    key, secret = issue_api_key(shell.work, shell.organization, new, _maker(shell))
    note_made(shell, key.id)
    return _shown_once(shell, key, secret)


def show_edit_api_key(shell: OrganizationShell, key_id: str) -> Response:
    """The form for what may change; permissions may not: a key that should do more is another key."""
    key = _key(shell, key_id)
    return shell.render(
        "dashboard/api_keys/edit.html",
        key=key,
        action=shell.url("api-keys", key.id, "edit"),
        back_url=shell.url("api-keys", key.id),
        list_url=shell.url("api-keys"),
        allow_list="\n".join(key.ip_allow_list),
    )


def change_api_key(shell: OrganizationShell, key_id: str) -> Response:
    """Saves name, description and limits."""
    key = _key(shell, key_id)
    check_all(*_texts_and_limits(shell))
    update_api_key(
        shell.work,
        key,
        _maker(shell),
        name=shell.value("name"),
        description=shell.value("description"),
        ip_allow_list=lines_of(shell.value("ip_allow_list")),
        rate_limit_per_minute=_limit(shell),
    )
    return shell.redirect("api-keys", key.id, done="saved")


def show_rotate_api_key(shell: OrganizationShell, key_id: str) -> Response:
    """The question: how long the old key shall go on."""
    key = _key(shell, key_id)
    return shell.render(
        "dashboard/api_keys/rotate.html",
        key=key,
        masked=masked(key),
        action=shell.url("api-keys", key.id, "rotate"),
        back_url=shell.url("api-keys", key.id),
        list_url=shell.url("api-keys"),
        overlaps=OVERLAPS,
        default_overlap=_DEFAULT_OVERLAP,
        form_id=form_id(shell),
    )


def rotate(shell: OrganizationShell, key_id: str) -> Response:
    """Makes the successor and shows it, this once."""
    key = _key(shell, key_id)
    overlap = shell.value("overlap")
    if overlap not in {value for value, _, _ in OVERLAPS}:
        raise Invalid("overlap", "Choose how long the old key keeps working.")
    made = made_before(shell)
    if made is not None:
        return shell.redirect("api-keys", made, done="made")
    successor, secret = rotate_api_key(shell.work, key, int(overlap), _maker(shell))
    note_made(shell, successor.id)
    return _shown_once(shell, successor, secret, replaced=key)


def show_revoke_api_key(shell: OrganizationShell, key_id: str) -> Response:
    """The question, with its consequence."""
    key = _key(shell, key_id)
    question = Question(
        f"Revoke {key.name}?",
        (
            f"Every request with {masked(key)} is refused from that moment on, on all servers.",
            "A revoked key cannot be brought back. Where something still depends on it, rotate it instead.",
        ),
        "Revoke key",
        shell.url("api-keys", key.id),
        trail=[Link("API keys", shell.url("api-keys")), Link(key.name, shell.url("api-keys", key.id))],
    )
    return ask(shell, question)


def revoke(shell: OrganizationShell, key_id: str) -> Response:
    """Ends the key, whatever state it is in."""
    key = get_api_key(shell.work, shell.organization.id, shell.environment, key_id)
    revoke_api_key(shell.work, key, "dashboard")
    return shell.redirect("api-keys", key.id, done="revoked")


def _key(shell: OrganizationShell, key_id: str) -> ApiKey:
    """A key that is not over yet.

    Raises:
        NotFound: when there is none here.
        Conflict: when it is over.
    """
    key = get_api_key(shell.work, shell.organization.id, shell.environment, key_id)
    if state_of(key, shell.work.now).is_over:
        raise Conflict("This key has ended. Nothing about it can be changed any more.")
    return key


def _maker(shell: OrganizationShell) -> Maker:
    return Maker(shell.rights, shell.user, None)


def _new_key(shell: OrganizationShell) -> NewApiKey:
    kind = _kind(shell)
    permissions = (SCIM,) if kind == SCIM else tuple(chosen_permissions(shell))
    check_all(
        *_texts_and_limits(shell), lambda: api_key_terms.check_permissions(kind, permissions), lambda: _expiry(shell)
    )
    expires_at = _expiry(shell)
    return NewApiKey(
        name=shell.value("name"),
        permissions=permissions,
        environment=shell.environment,
        kind=kind,
        description=shell.value("description"),
        expires_at=expires_at,
        never_expires=expires_at is None,
        ip_allow_list=lines_of(shell.value("ip_allow_list")),
        rate_limit_per_minute=_limit(shell),
    )


def _texts_and_limits(shell: OrganizationShell) -> tuple[Callable[[], object], ...]:
    """The checks of what may also be changed later."""
    return (
        lambda: api_key_terms.check_text("name", shell.value("name"), api_key_terms.MAXIMUM_NAME, 1),
        lambda: api_key_terms.check_text("description", shell.value("description"), api_key_terms.MAXIMUM_DESCRIPTION),
        lambda: api_key_terms.check_networks(lines_of(shell.value("ip_allow_list"))),
        lambda: _limit(shell),
    )


def _kind(shell: OrganizationShell) -> KeyKind:
    kind = shell.value("kind")
    if kind not in KINDS:
        raise Invalid("kind", "Choose what kind of key it is.")
    return cast(KeyKind, kind)


def _expiry(shell: OrganizationShell) -> datetime | None:
    chosen = shell.value("expires")
    if chosen == NEVER:
        return None
    if chosen == ON_A_DAY:
        return _end_of_day(shell.value("expires_on"), shell.work.now)
    if chosen not in dict(EXPIRIES):
        raise Invalid("expires", "Choose when the key expires.")
    return shell.work.now + timedelta(days=int(chosen))


def _end_of_day(text: str, now: datetime) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Invalid("expires_on", "Choose a day, such as 2027-01-31.") from None
    end = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
    if end <= now:
        raise Invalid("expires_on", "This day is over. Choose a later one.")
    return end


def _limit(shell: OrganizationShell) -> int | None:
    text = shell.value("rate_limit_per_minute").strip()
    if not text:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,6}", text) or int(text) > MAXIMUM_RATE:
        raise Invalid("rate_limit_per_minute", f"Write a whole number from 1 to {MAXIMUM_RATE}, or nothing.")
    return int(text)


def _shown_once(shell: OrganizationShell, key: ApiKey, secret: str, replaced: ApiKey | None = None) -> Response:
    return shell.render(
        "dashboard/api_keys/created.html",
        key=key,
        secret=secret,
        replaced=replaced,
        replaced_masked=masked(replaced) if replaced else None,
        permissions=described(key.permissions),
        owner=owner_of(key),
        here=shell.url("api-keys", key.id),
        list_url=shell.url("api-keys"),
        base_url=shell.work.settings.issuer,
    )
