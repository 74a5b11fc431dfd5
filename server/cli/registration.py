"""`gatepost registration`: initial access tokens, by which others register clients at `/oauth/register`."""

from __future__ import annotations

from typing import Any

import click

from server.cli.console import json_option, operator_work, show, show_table
from server.domain import initial_access_tokens
from server.domain.initial_access_tokens import InitialAccessToken


def _describe(token: InitialAccessToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "label": token.label,
        "uses_left": token.uses_left,
        "created_at": token.created_at.isoformat(timespec="seconds"),
        "expires_at": token.expires_at.isoformat(timespec="seconds") if token.expires_at else None,
    }


@click.group()
def registration() -> None:
    """Create, list and revoke initial access tokens for dynamic client registration.

    \b
    They are asked for where GATEPOST_REGISTRATION=token.
    """


@registration.command()
@click.argument("label")
@click.option("--uses", type=click.IntRange(min=1), default=1, show_default=True,
              help="How many clients may be registered with it.")  # fmt: skip
@click.option("--unlimited", is_flag=True, help="Any number of clients may be.")
@click.option("--expires-in", type=click.IntRange(min=1, max=10 * 365 * 86400), default=7 * 86400, show_default=True,
              help="Seconds that it is good.")  # fmt: skip
@click.option("--never-expires", is_flag=True, help="Until it is revoked.")
@json_option
def create(label: str, uses: int, unlimited: bool, expires_in: int, never_expires: bool, as_json: bool) -> None:
    """Make a token for whoever LABEL says, shown this once."""
    with operator_work() as work:
        token, presented = initial_access_tokens.create_initial_access_token(
            work, label, uses=None if unlimited else uses, expires_in=None if never_expires else expires_in
        )
        document = _describe(token) | {"initial_access_token": presented}
    show(document, as_json)


@registration.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the tokens, used up and expired ones too until they are swept."""
    with operator_work() as work:
        rows = [_describe(token) for token in initial_access_tokens.list_initial_access_tokens(work)]
    show_table(rows, as_json, empty='There are no tokens. Make one with: gatepost registration create "For whom"')


@registration.command()
@click.argument("token_id")
@json_option
def revoke(token_id: str, as_json: bool) -> None:
    """End a token; the clients that were registered with it stay."""
    with operator_work() as work:
        document = _describe(initial_access_tokens.revoke_initial_access_token(work, token_id))
    show(document | {"revoked": True}, as_json)
