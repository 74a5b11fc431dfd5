"""`gatepost config`: what the deployment is set to."""

from __future__ import annotations

import click

from server.cli.console import settings_or_exit, show
from server.config import PREFIX


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
def check() -> None:
    """Validate the configuration and print the effective values, secrets masked."""
    settings = settings_or_exit()
    show({PREFIX + name.upper(): str(value) for name, value in settings}, as_json=False)
