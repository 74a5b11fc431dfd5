"""`gatepost api-keys`: the keys of organizations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from server.cli.console import json_option, operator_work, show, show_table
from server.domain import api_key_issuing, api_key_reports, credential_usage
from server.domain import api_keys as registry
from server.domain.api_key_issuing import OPERATOR_MAKER, NewApiKey
from server.domain.api_keys import ApiKey
from server.domain.errors import NotFound
from server.domain.organizations import get_organization
from server.domain.policy.api_key_terms import KINDS
from server.domain.policy.environments import ENVIRONMENTS, Environment
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import why_unusable

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Span(click.ParamType[timedelta]):
    """A length of time such as 24h; a number alone is seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The span, or an error that shows how one is written."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", value)
        if found is None:
            self.fail(f"{value!r} is no length of time such as 30d, 24h, 15m or 0.", param, ctx)
        return timedelta(seconds=int(found[1]) * _SECONDS[found[2] or "s"])


def _describe(key: ApiKey, now: datetime) -> dict[str, Any]:
    return {
        "id": key.id,
        "key": f"{key.prefix}{key.public_id}…{key.hint}",
        "name": key.name,
        "environment": key.environment,
        "kind": key.kind,
        "permissions": key.permissions,
        "created_at": _moment(key.created_at),
        "expires_at": _moment(key.expires_at),
        "state": why_unusable(now, key) or ("being_replaced" if key.replaced_by_id else "active"),
    }


def _describe_all(work: UnitOfWork, key: ApiKey) -> dict[str, Any]:
    last = credential_usage.last_use_of(work, "api_key", [key.id]).get(key.id)
    return _describe(key, work.now) | {
        "organization_id": key.organization_id,
        "description": key.description,
        "owner_id": key.owner_id,
        "ip_allow_list": key.ip_allow_list,
        "rate_limit_per_minute": key.rate_limit_per_minute,
        "revoked_at": _moment(key.revoked_at),
        "revoked_reason": key.revoked_reason,
        "replaced_by_id": key.replaced_by_id,
        "last_used_at": _moment(last.last_used_at) if last else None,
        "last_used_ip": last.last_used_ip if last else None,
    }


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def _get(work: UnitOfWork, key_id: str) -> ApiKey:
    """The key of this id, wherever it is: an operator sees all of them."""
    key = work.db.get(ApiKey, key_id)
    if key is None:
        raise NotFound(f"There is no API key {key_id}. An id begins with {registry.ID_PREFIX}.")
    return key


_environment = click.option("--environment", type=click.Choice(ENVIRONMENTS), default="live", show_default=True,
                            help="Where the keys are good; neither sees the other.")  # fmt: skip
_key_id = click.argument("key_id")


@click.group("api-keys")
def api_keys() -> None:
    """Make, rotate and revoke API keys. An organization is named by its id or slug."""


@api_keys.command()
@click.argument("organization")
@click.argument("name")
@click.option("--permission", "permissions", multiple=True, required=True, help="A scope; may be repeated.")
@_environment
@click.option("--kind", type=click.Choice(KINDS), default="standard", show_default=True,
              help="Restricted ones change nothing here; those for SCIM are good for that alone.")  # fmt: skip
@click.option("--description", default="", help="What it is for.")
@click.option("--expires-in", type=Span(), help="How long it lives, such as 365d; by default as configured.")
@click.option("--never-expires", is_flag=True, help="It lives until it is revoked.")
@click.option("--ip", "networks", multiple=True, help="An address or network it may be used from; may be repeated.")
@click.option("--rate-limit", type=int, help="Requests a minute; by default as configured.")
@json_option
def create(
    organization: str, name: str, expires_in: timedelta | None, networks: Sequence[str], as_json: bool, **options: Any
) -> None:
    """Make a key, with no owner and no bounds but its permissions. It is shown this once."""
    options["rate_limit_per_minute"] = options.pop("rate_limit")
    with operator_work() as work:
        new = NewApiKey(
            name, expires_at=work.now + expires_in if expires_in else None, ip_allow_list=networks, **options
        )
        key, text = api_key_issuing.issue_api_key(work, get_organization(work, organization), new, OPERATOR_MAKER)
        document = _describe(key, work.now)
    show(document | {"key": text}, as_json)


@api_keys.command("list")
@click.argument("organization")
@_environment
@json_option
def list_(organization: str, environment: Environment, as_json: bool) -> None:
    """List an organization's keys, newest first."""
    with operator_work() as work:
        keys = registry.list_api_keys(work, get_organization(work, organization).id, environment)
        rows = [_describe(key, work.now) for key in keys]
    show_table(rows, as_json, empty="This organization has no API keys there.")


@api_keys.command("show")
@_key_id
@json_option
def show_(key_id: str, as_json: bool) -> None:
    """Show one key, without its secret part."""
    with operator_work() as work:
        document = _describe_all(work, _get(work, key_id))
    show(document, as_json)


@api_keys.command()
@_key_id
@click.option("--overlap", type=Span(), default="24h", show_default=True, help="How long the old key goes on; 0: ends.")
@json_option
def rotate(key_id: str, overlap: timedelta, as_json: bool) -> None:
    """Make a key in the place of another. It is shown this once."""
    with operator_work() as work:
        old = _get(work, key_id)
        key, text = api_key_issuing.rotate_api_key(work, old, int(overlap.total_seconds()), OPERATOR_MAKER)
        document = _describe(key, work.now) | {"key": text, "old_id": old.id, "old_expires_at": _moment(old.expires_at)}
    show(document, as_json)


@api_keys.command()
@_key_id
@click.option("--reason", default="operator", show_default=True, help="Why, for the audit log.")
@json_option
def revoke(key_id: str, reason: str, as_json: bool) -> None:
    """End a key, at once and everywhere."""
    with operator_work() as work:
        key = _get(work, key_id)
        registry.revoke_api_key(work, key, reason)
        document = _describe_all(work, key)
    show(document, as_json)


@api_keys.command("revoke-all")
@click.argument("organization", required=False)
@click.option("--environment", type=click.Choice(ENVIRONMENTS), help="Only in this one.")
@click.option("--prefix", help="Only keys that begin so.")
@click.option("--created-after", type=click.DateTime(), help="Only keys made then or later, in UTC.")
@click.option("--created-before", type=click.DateTime(), help="Only keys made earlier, in UTC.")
@click.confirmation_option("--yes", prompt="This ends every key that fits, at once. Go on?")
@json_option
def revoke_all(organization: str | None, as_json: bool, **criteria: Any) -> None:
    """End many keys at once: those of an organization, or without one those of all."""
    for name in ("created_after", "created_before"):
        criteria[name] = criteria[name] and criteria[name].replace(tzinfo=UTC)
    if organization is None and not any(criteria.values()):
        raise click.ClickException(
            "Say whose keys end, or which: name an organization, a prefix or when they were made."
        )
    with operator_work() as work:
        organization_id = get_organization(work, organization).id if organization is not None else None
        count = registry.revoke_api_keys(work, organization_id, **criteria)
    show({"revoked": count}, as_json)


@api_keys.command()
@click.argument("organization")
@_environment
@click.option("--expiring", "days", type=click.IntRange(min=1), default=30, show_default=True,
              help="Days in which a key ends soon.")  # fmt: skip
@click.option("--unused", "unused_days", type=click.IntRange(min=1), default=90, show_default=True,
              help="Days without a use.")  # fmt: skip
@json_option
def report(organization: str, environment: Environment, days: int, unused_days: int, as_json: bool) -> None:
    """List the keys to look at: those that end soon, and those that nobody uses."""
    with operator_work() as work:
        organization_id = get_organization(work, organization).id
        expiring = api_key_reports.keys_expiring_soon(work, organization_id, environment, days)
        unused = api_key_reports.keys_unused(work, organization_id, environment, unused_days)
        rows = [{"why": "expiring", **_describe(key, work.now)} for key in expiring]
        rows += [{"why": "unused", **_describe(key, work.now)} for key in unused]
    show_table(rows, as_json, empty="No key ends soon, and all are used.")
