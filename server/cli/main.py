"""`gatepost`: the list of all commands."""

from __future__ import annotations

import click

from server import __version__
from server.cli import (
    api_keys,
    audit,
    clients,
    config,
    db,
    dev,
    keyring,
    keys,
    organizations,
    registration,
    scopes,
    serve,
    sweep,
    users,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gatepost")
def main() -> None:
    """Gatepost: an OAuth 2.0 and OpenID Connect authorization server.

    \b
    Try it:      gatepost dev
    Production:  gatepost keyring create
                 gatepost db upgrade
                 gatepost clients create "My app" --type web --redirect-uri https://app.example.com/callback
                 gatepost users create ada@example.com
                 gatepost serve
    """


for command in (
    dev.dev,
    serve.serve,
    db.db,
    keyring.keyring,
    keys.keys,
    clients.clients,
    scopes.scopes,
    organizations.organizations,
    api_keys.api_keys,
    registration.registration,
    users.users,
    audit.audit,
    sweep.sweep,
    config.config,
):
    main.add_command(command)
