"""`gatepost db`: the schema."""

from __future__ import annotations

import click

from server.cli.console import faults_as_sentences, settings_or_exit
from server.infra.migrations import current_revision, newest_revision, serves
from server.infra.migrations import upgrade as run_upgrade


@click.group()
def db() -> None:
    """Make the database, and keep its schema up to date."""


@db.command()
def upgrade() -> None:
    """Bring the schema to this version's. Safe to run twice, and on several replicas at once."""
    settings = settings_or_exit()
    with faults_as_sentences():
        before, after = run_upgrade(settings)
    click.echo(f"The database is at {after} already." if before == after else f"Upgraded the database to {after}.")


@db.command()
def current() -> None:
    """Show the schema's revision, and whether it is the one this version needs."""
    settings = settings_or_exit()
    with faults_as_sentences():
        revision = current_revision(settings)
    newest = newest_revision()
    if revision == newest:
        state = "up to date"
    elif serves(revision):
        state = f"later than {newest}, which is enough for this version"
    else:
        state = f"{newest} is needed; run: gatepost db upgrade"
    click.echo(f"{revision or 'empty'} ({state})")
