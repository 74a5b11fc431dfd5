"""`gatepost scopes`: what the deployment's scopes are called, and what whoever holds some may do."""

from __future__ import annotations

from typing import Any

import click

from server.cli.console import json_option, settings_or_exit, show_table
from server.config import Settings
from server.domain import scopes as rules
from server.domain.policy.role_permissions import MANAGEMENT_NAMES


def _describe(scope: rules.Scope) -> dict[str, Any]:
    kind = "management" if scope.name in MANAGEMENT_NAMES else "standard" if scope.name in rules.PERSONAL else "own"
    return {
        "scope": scope.name,
        "kind": kind,
        "sensitive": scope.sensitive,
        "implies": list(scope.implies),
        "sentence": scope.sentence,
    }


@click.group()
def scopes() -> None:
    """List the scopes of this deployment (GATEPOST_SCOPES), and try what some of them allow.

    \b
    A * stands for one segment between colons: notes:* covers notes:read. Alone it is every scope.
    """


@scopes.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the deployment's own scopes, those that manage organizations, and the standard ones."""
    settings = settings_or_exit()
    show_table([_describe(scope) for scope in rules.catalogue(settings).values()], as_json, empty="")
    for name, implied in _unknown_implications(settings):
        click.echo(f"Note: {name} implies {implied}, which is no scope of this deployment.", err=True)


@scopes.command()
@click.argument("held")
@click.argument("needed", nargs=-1, required=True)
def check(held: str, needed: tuple[str, ...]) -> None:
    """Say whether whoever holds the scopes HELD (between spaces) may do all that is NEEDED; exit code 1 when not."""
    settings = settings_or_exit()
    missing = rules.rights(settings, rules.parse(held)).excess(needed)
    if missing:
        raise click.ClickException(f"Not allowed: {rules.format_scopes(missing)}.")
    click.echo("Allowed.")
    for name in needed:
        if not rules.is_known(settings, name):
            click.echo(f"Note: {name} is no scope of this deployment.", err=True)


def _unknown_implications(settings: Settings) -> list[tuple[str, str]]:
    known = rules.catalogue(settings).values()
    return [(scope.name, each) for scope in known for each in scope.implies if not rules.is_known(settings, each)]
