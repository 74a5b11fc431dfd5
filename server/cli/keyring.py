"""`gatepost keyring`: the deployment's key-encryption keys."""

from __future__ import annotations

import click

from server.cli.console import settings_or_exit
from server.infra.keyring import KeyringError, create_keyring


@click.group()
def keyring() -> None:
    """The file of key-encryption keys that production needs before anything else."""


@keyring.command()
def create() -> None:
    """Make the keyring, once. It is never overwritten."""
    try:
        path = create_keyring(settings_or_exit().keys_dir)
    except KeyringError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Made {path}. Back it up apart from the database: neither is worth anything without the other.")
