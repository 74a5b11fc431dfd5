"""`gatepost users`: the people who may sign in."""

from __future__ import annotations

import sys
from typing import Any

import click

from server.cli.console import json_option, operator_work, show, show_table
from server.domain import sessions
from server.domain import users as registry
from server.domain.claims import DEMO_CLAIMS
from server.domain.deletion import delete_user, describe_deletion
from server.domain.passwords import set_password
from server.domain.users import User
from server.infra import secrets


def _describe(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "email_verified": user.email_verified,
        "name": user.name,
        "created_at": user.created_at.isoformat(timespec="seconds"),
        "is_disabled": user.disabled_at is not None,
    }


def _read_password(from_stdin: bool) -> str | None:
    """A password from standard input: never from an argument, which other users of the machine could read."""
    try:
        return sys.stdin.readline().rstrip("\r\n") if from_stdin else None
    except UnicodeDecodeError as error:
        raise click.ClickException("The password on standard input is not UTF-8 text.") from error


_stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


@click.group()
def users() -> None:
    """Add, change and remove people. A person is named by id or email address."""


@users.command()
@click.argument("email")
@click.option("--name", help="The full name.")
@click.option("--email-verified", is_flag=True, help="The address is known to be theirs.")
@click.option("--demo-claims", is_flag=True, help="Fill every standard claim with sample values.")
@_stdin_option
@json_option
def create(
    email: str, name: str | None, email_verified: bool, demo_claims: bool, password_stdin: bool, as_json: bool
) -> None:
    """Add a person. Without --password-stdin a random password is made and shown, this once."""
    chosen = _read_password(password_stdin)
    with operator_work() as work:
        user = registry.create_user(
            work, email, name=name, claims=DEMO_CLAIMS if demo_claims else None, email_verified=email_verified
        )
        password = chosen if chosen is not None else secrets.new_secret()[:20]
        set_password(work, user, password)
        document = _describe(user)
    show(document if chosen is not None else document | {"password": password}, as_json)


@users.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List everybody."""
    with operator_work() as work:
        rows = [_describe(user) for user in registry.list_users(work)]
    show_table(rows, as_json, empty="There are no users. Add one with: gatepost users create EMAIL")


@users.command("show")
@click.argument("user")
@json_option
def show_(user: str, as_json: bool) -> None:
    """Show one person."""
    with operator_work() as work:
        document = _describe(registry.get_user(work, user))
    show(document, as_json)


@users.command("set-password")
@click.argument("user")
@_stdin_option
@click.option("--keep-signed-in", is_flag=True, help="Leave sessions and tokens alone.")
@json_option
def set_password_(user: str, password_stdin: bool, keep_signed_in: bool, as_json: bool) -> None:
    """Give a person a new password and end all their sessions and tokens.

    Without --password-stdin a random password is made and shown, this once.
    """
    chosen = _read_password(password_stdin)
    with operator_work() as work:
        found = registry.get_user(work, user)
        password = chosen if chosen is not None else secrets.new_secret()[:20]
        set_password(work, found, password)
        if not keep_signed_in:
            sessions.sign_out_everywhere(work, found, "password_changed")
        document = _describe(found)
    show(document if chosen is not None else document | {"password": password}, as_json)


@users.command()
@click.argument("user")
@json_option
def disable(user: str, as_json: bool) -> None:
    """Suspend a person: nothing of theirs works, at once, until they are enabled again."""
    with operator_work() as work:
        found = registry.get_user(work, user)
        registry.disable_user(work, found)
        sessions.tell_clients_of(work, found)
        document = _describe(found)
    show(document, as_json)


@users.command()
@click.argument("user")
@json_option
def enable(user: str, as_json: bool) -> None:
    """Let a disabled person in again."""
    with operator_work() as work:
        found = registry.get_user(work, user)
        registry.enable_user(work, found)
        document = _describe(found)
    show(document, as_json)


@users.command()
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(user: str, yes: bool, as_json: bool) -> None:
    """Remove a person for good; says beforehand what goes with them. Their id is never given to anybody else."""
    if not yes:
        with operator_work() as work:
            said = describe_deletion(work, registry.get_user(work, user))
        # In no transaction: on SQLite others would wait for the answer.
        click.confirm("\n".join([*said, "Go on?"]), abort=True, err=True)
    with operator_work() as work:
        found = registry.get_user(work, user)
        document = _describe(found)
        said = delete_user(work, found)
    show(document | {"deleted": True, "removed": said}, as_json)
