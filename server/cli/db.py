"""`gatepost db`: the schema."""

from __future__ import annotations

import click

from server.cli.console import settings_or_exit
from server.infra.database import OUTAGES
from server.infra.migrations import current_revision, newest_revision
from server.infra.migrations import upgrade as run_upgrade


@click.group()
def db() -> None:
    """Make the database, and keep its schema up to date."""


@db.command()
def upgrade() -> None:
    """Bring the schema to this version's. Safe to run twice, and on several replicas at once."""
    try:
        before, after = run_upgrade(settings_or_exit())
    except OUTAGES as error:
        raise click.ClickException("The database does not answer. Check GATEPOST_DATABASE_URL.") from error
    click.echo(f"The database is at {after} already." if before == after else f"Upgraded the database to {after}.")


@db.command()
def current() -> None:
    """Show the schema's revision, and whether it is the one this version needs."""
    try:
        revision = current_revision(settings_or_exit())
    except OUTAGES as error:
        raise click.ClickException("The database does not answer. Check GATEPOST_DATABASE_URL.") from error
    newest = newest_revision()
    state = "up to date" if revision == newest else f"{newest} is needed; run: gatepost db upgrade"
    click.echo(f"{revision or 'empty'} ({state})")
