"""`gatepost clients`: the registered applications."""

from __future__ import annotations

from typing import Any

import click

from server.cli.console import json_option, operator_work, show, show_table
from server.domain import clients as registry
from server.domain.client_registration import ClientMetadata, create_client, describe
from server.domain.client_secrets import issue_client_secret, list_client_secrets, rotate_client_secret
from server.domain.policy.client_metadata import AUTH_METHODS, CLIENT_TYPES
from server.infra.jose import SIGNING_ALGORITHMS


@click.group()
def clients() -> None:
    """Register, change and remove applications."""


@clients.command()
@click.argument("name")
@click.option("--type", "client_type", type=click.Choice(CLIENT_TYPES), required=True,
              help="web: has a server; spa: runs in the browser; native: on a phone or desktop; "
              "machine: acts for itself; device: has no browser.")  # fmt: skip
@click.option("--client-id", help="Choose the id; by default a random one.")
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="Where people return to. May be repeated.")
@click.option("--post-logout-redirect-uri", "post_logout_redirect_uris", multiple=True, help="May be repeated.")
@click.option("--scope", help="What it may ask for, separated by spaces.")
@click.option("--auth-method", "token_endpoint_auth_method", type=click.Choice(AUTH_METHODS),
              help="How it authenticates; by default what suits its type.")  # fmt: skip
@click.option("--client-uri", help="The application's home page.")
@click.option("--policy-uri", help="Its privacy policy, shown on sign-in.")
@click.option("--tos-uri", help="Its terms of service, shown on sign-in.")
@click.option("--first-party", "is_first_party", is_flag=True, help="Our own application: people are not asked.")
@click.option("--introspect-any", "may_introspect_any", is_flag=True,
              help="A resource server: may introspect tokens of all clients.")  # fmt: skip
@click.option("--no-pkce", is_flag=True, help="For old confidential clients that cannot do PKCE.")
@click.option("--no-rotation", is_flag=True, help="Keep one refresh token; confidential clients only.")
@click.option("--refresh-token-policy", type=click.Choice(["offline_access", "always"]), default="offline_access",
              show_default=True, help="When refresh tokens are given.")  # fmt: skip
@click.option("--id-token-claims", type=click.Choice(["full", "lean"]), default="full", show_default=True,
              help="full: granted profile and email claims stand in the ID token too.")  # fmt: skip
@click.option("--id-token-alg", "id_token_signed_response_alg", type=click.Choice(SIGNING_ALGORITHMS),
              default="RS256", show_default=True, help="What ID tokens are signed with.")  # fmt: skip
@click.option("--access-token-alg", "access_token_signed_response_alg", type=click.Choice(SIGNING_ALGORITHMS),
              default="RS256", show_default=True, help="What access tokens are signed with.")  # fmt: skip
@json_option
def create(name: str, no_pkce: bool, no_rotation: bool, as_json: bool, **options: Any) -> None:
    """Register an application. Its secret, if it has one, is shown this once."""
    metadata = ClientMetadata(
        client_name=name, require_pkce=not no_pkce, rotate_refresh_tokens=not no_rotation, **options
    )
    with operator_work() as work:
        client = create_client(work, metadata)
        document = describe(client)
        if not client.is_public:
            document["client_secret"] = issue_client_secret(work, client)
    show(document, as_json)


@clients.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all applications."""
    names = ("client_id", "client_name", "client_type", "token_endpoint_auth_method", "is_disabled")
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
        if client.is_public:
            raise click.ClickException("This client has no secret: it is public.")
        secret = rotate_client_secret(work, client, overlap)
    show({"client_id": client_id, "client_secret": secret, "old_secrets_end_in": overlap}, as_json)


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
@click.confirmation_option("--yes", prompt="This removes the application with all consents and grants. Go on?")
@json_option
def delete(client_id: str, as_json: bool) -> None:
    """Remove an application for good."""
    with operator_work() as work:
        client = registry.get_client(work, client_id)
        document = describe(client)
        registry.delete_client(work, client)
    show(document | {"deleted": True}, as_json)
