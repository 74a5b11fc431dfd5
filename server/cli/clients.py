"""`gatepost clients`: the registered applications."""

from __future__ import annotations

from typing import Any, Final

import click

from server.cli.client_options import identity_options, metadata_options, values_of
from server.cli.console import json_option, operator_work, show, show_table
from server.domain import clients as registry
from server.domain.client_changes import change_client, metadata_of
from server.domain.client_registration import ClientMetadata, add_client, describe, prepare_client
from server.domain.client_secrets import (
    issue_client_secret,
    list_client_secrets,
    needs_secret,
    rotate_client_secret,
)
from server.domain.deletion import delete_client, describe_deletion
from server.domain.organizations import get_organization
from server.domain.policy.client_metadata import MEMBERS, OWN_MEMBERS
from server.domain.registration_tokens import revoke_registration_token
from server.domain.sector_identifiers import check_sector_file

_COMMANDLINE: Final = click.core.ParameterSource.COMMANDLINE
#: What may take its default again; a client without name, type or a way to be reached is none.
_CHANGEABLE: Final = tuple(
    name for name in (*MEMBERS, *OWN_MEMBERS) if name not in {"client_name", "client_type", "application_type"}
)


@click.group()
def clients() -> None:
    """Register, change and remove applications."""


@clients.command()
@click.argument("name")
@identity_options
@metadata_options
@json_option
def create(name: str, organization: str | None, as_json: bool, **options: Any) -> None:
    """Register an application. Its secret, if it has one, is shown this once."""
    for flow in ("grant_types", "response_types"):
        options[flow] = options[flow] or None
    with operator_work() as work:
        if organization is not None:
            options["organization_id"] = get_organization(work, organization).id
        client = prepare_client(work, ClientMetadata(client_name=name, **values_of(options)))
        check_sector_file(work, client)
        add_client(work, client)
        document = describe(client)
        if needs_secret(client):
            document["client_secret"] = issue_client_secret(work, client)
    show(document, as_json)


@clients.command()
@click.argument("client_id")
@click.option("--name", "client_name", help="Its new name.")
@metadata_options
@click.option("--unset", "unset", type=click.Choice(_CHANGEABLE), multiple=True, metavar="MEMBER",
              help="A member, as show names it, that takes its default again. May be repeated.")  # fmt: skip
@json_option
def update(client_id: str, unset: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Change an application: what is said is replaced, all else stays. A new secret it needs is shown this once."""
    context = click.get_current_context()
    said = {name: options[name] for name in options if context.get_parameter_source(name) is _COMMANDLINE}
    with operator_work() as work:
        metadata = metadata_of(registry.get_client(work, client_id)) | values_of(said)
        prepared = prepare_client(
            work, ClientMetadata(**{name: value for name, value in metadata.items() if name not in unset})
        )
        check_sector_file(work, prepared)
        client = registry.get_client(work, client_id)
        secret = change_client(work, client, prepared)
        document = describe(client) | ({"client_secret": secret} if secret is not None else {})
    show(document, as_json)


@clients.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all applications."""
    names = ("client_id", "client_name", "client_type", "token_endpoint_auth_method", "environment", "is_disabled")
    with operator_work() as work:
        rows = [describe(client) for client in registry.list_clients(work)]
    shown = rows if as_json else [{name: row[name] for name in names} for row in rows]
    show_table(shown, as_json, empty='There are no clients. Register one with: gatepost clients create "My app" …')


@clients.command("show")
@click.argument("client_id")
@json_option
def show_(client_id: str, as_json: bool) -> None:
    """Show one application, with what is known of its secrets."""
    with operator_work() as work:
        client = registry.get_client(work, client_id)
        document = describe(client)
        document["client_secrets"] = [
            f"…{secret.hint} " + (f"until {secret.expires_at:%Y-%m-%dT%H:%M:%SZ}" if secret.expires_at else "(current)")
            for secret in list_client_secrets(work, client)
        ]
    show(document, as_json)


@clients.command("rotate-secret")
@click.argument("client_id")
@click.option("--overlap", type=click.IntRange(min=0), default=86400, show_default=True,
              help="Seconds that the old secrets go on working; 0 ends them now.")  # fmt: skip
@json_option
def rotate_secret(client_id: str, overlap: int, as_json: bool) -> None:
    """Issue a new secret, shown this once."""
    with operator_work() as work:
        client = registry.get_client(work, client_id)
        if not needs_secret(client):
            reason = "it is public" if client.is_public else "it signs with a key of its own"
            raise click.ClickException(f"This client has no secret: {reason}.")
        secret = rotate_client_secret(work, client, overlap)
    show({"client_id": client_id, "client_secret": secret, "old_secrets_end_in": overlap}, as_json)


@clients.command("revoke-registration")
@click.argument("client_id")
@json_option
def revoke_registration(client_id: str, as_json: bool) -> None:
    """End an application's leave to change its own registration. All else of it stays."""
    with operator_work() as work:
        client = registry.get_client(work, client_id)
        if not revoke_registration_token(work, client.id):
            raise click.ClickException("This client has no registration access token.")
        document = describe(client)
    show(document | {"registration_revoked": True}, as_json)


@clients.command()
@click.argument("client_id")
@json_option
def disable(client_id: str, as_json: bool) -> None:
    """Suspend an application: nothing of its works, at once, until it is enabled again."""
    with operator_work() as work:
        client = registry.get_client(work, client_id)
        registry.disable_client(work, client)
        document = describe(client)
    show(document, as_json)


@clients.command()
@click.argument("client_id")
@json_option
def enable(client_id: str, as_json: bool) -> None:
    """Let a disabled application work again."""
    with operator_work() as work:
        client = registry.get_client(work, client_id)
        registry.enable_client(work, client)
        document = describe(client)
    show(document, as_json)


@clients.command()
@click.argument("client_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(client_id: str, yes: bool, as_json: bool) -> None:
    """Remove an application for good, with all that is its own."""
    if not yes:
        with operator_work() as work:
            said = describe_deletion(work, registry.get_client(work, client_id))
        # In no transaction: on SQLite others would wait for the answer.
        click.confirm("\n".join([*said, "Go on?"]), abort=True, err=True)
    with operator_work() as work:
        client = registry.get_client(work, client_id)
        document = describe(client)
        said = delete_client(work, client)
    show(document | {"deleted": True, "removed": said}, as_json)
