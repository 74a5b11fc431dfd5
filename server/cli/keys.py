"""`gatepost keys`: the keys that sign tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from server.cli.console import json_option, operator_work, show, show_table
from server.domain import key_rotation, signing_keys
from server.domain.signing_keys import StoredSigningKey
from server.infra.jose import SIGNING_ALGORITHMS


def _describe(key: StoredSigningKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": str(key.state),
        "created_at": key.created_at.isoformat(timespec="seconds"),
        "activated_at": key.activated_at.isoformat(timespec="seconds") if key.activated_at else None,
        "remove_after": key.remove_after.isoformat(timespec="seconds") if key.remove_after else None,
    }


_algorithm_option = click.option(
    "--algorithm", type=click.Choice(SIGNING_ALGORITHMS), default="RS256", show_default=True, help="Which key."
)


@click.group()
def keys() -> None:
    """List, rotate, retire and import signing keys.

    \b
    A key is next (published), then active (signing), then retiring (published until its tokens expired).
    """


@keys.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all keys, newest first."""
    with operator_work() as work:
        rows = [_describe(key) for key in signing_keys.list_keys(work)]
    show_table(rows, as_json, empty="There are no keys yet: `gatepost serve` makes them when it first starts.")


@keys.command()
@_algorithm_option
@click.option("--prepare", is_flag=True, help="Only publish the next key, so that verifiers meet it before it signs.")
@json_option
def rotate(algorithm: str, prepare: bool, as_json: bool) -> None:
    """Let the next key sign, and the active one retire. Without a next key a new one signs at once."""
    with operator_work() as work:
        key = (key_rotation.prepare_next_key if prepare else key_rotation.rotate_key)(work, algorithm)
        document = _describe(key)
    show(document, as_json)


@keys.command()
@click.argument("kid")
@click.confirmation_option("--yes", prompt="Tokens signed by this key will verify no longer. Go on?")
@json_option
def retire(kid: str, as_json: bool) -> None:
    """Take a key out of the JWKS at once, as after a compromise. Rotate first if it is the active one."""
    with operator_work() as work:
        document = _describe(key_rotation.retire_key(work, kid))
    show(document, as_json)


@keys.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_algorithm_option
@json_option
def import_(file: Path, algorithm: str, as_json: bool) -> None:
    """Take over a PEM private key as the next one; `gatepost keys rotate` lets it sign."""
    with operator_work() as work:
        try:
            document = _describe(key_rotation.import_key(work, file.read_bytes(), algorithm))
        except ValueError as error:
            raise click.ClickException(f"{file}: {error}.") from error
    show(document, as_json)
