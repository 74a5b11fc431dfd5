"""`gatepost keys`: the keys that sign tokens, and those that others encrypt to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from server.cli.console import json_option, operator_work, show, show_table
from server.domain import key_rotation, signing_keys
from server.domain.signing_keys import ALGORITHMS, ENCRYPTION_ALGORITHMS, KeyState, StoredSigningKey
from server.infra.jose import SIGNING_ALGORITHMS

_ALL: Final = "all"
_UNKNOWN: Final = (
    "This key was not in the JWKS for GATEPOST_SIGNING_KEY_PUBLICATION before it signed: verifiers that keep the JWKS "
    "may refuse its tokens until they read it again. Next time, --prepare it first."
)


def _describe(key: StoredSigningKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "use": "enc" if key.algorithm in ENCRYPTION_ALGORITHMS else "sig",
        "state": str(key.state),
        "created_at": key.created_at.isoformat(timespec="seconds"),
        "activated_at": key.activated_at.isoformat(timespec="seconds") if key.activated_at else None,
        "remove_after": key.remove_after.isoformat(timespec="seconds") if key.remove_after else None,
    }


@click.group()
def keys() -> None:
    """List, rotate, retire and import keys. `gatepost serve` rotates them by itself (GATEPOST_SIGNING_KEY_ROTATION).

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
@click.option(
    "--algorithm", type=click.Choice([*ALGORITHMS, _ALL]), default="RS256", show_default=True, help="Which key."
)
@click.option("--prepare", is_flag=True, help="Only publish the next key, so that verifiers meet it before it signs.")
@click.option(
    "--emergency",
    is_flag=True,
    help="A key has leaked: a new one signs at once, and all others of the algorithm leave the JWKS at once.",
)
@json_option
def rotate(algorithm: str, prepare: bool, emergency: bool, as_json: bool) -> None:
    """Let the next key sign, and the active one retire. Without a next key a new one signs at once."""
    if prepare and emergency:
        raise click.UsageError("--prepare and --emergency exclude each other.")
    if prepare and algorithm in ENCRYPTION_ALGORITHMS:
        raise click.UsageError("Keys that others encrypt to need no preparation: the old one decrypts for a while.")
    change = _prepare if prepare else _replace if emergency else _rotate
    if algorithm != _ALL:
        show(change(algorithm), as_json)
        return
    chosen = SIGNING_ALGORITHMS if prepare else ALGORITHMS
    show_table([change(each) for each in chosen], as_json, empty="")


def _prepare(algorithm: str) -> dict[str, Any]:
    # Made before the database is asked for anything: nobody waits for a lock meanwhile.
    spare = signing_keys.generate_key(algorithm)
    with operator_work() as work:
        return _describe(key_rotation.prepare_next_key(work, algorithm, spare))


def _replace(algorithm: str) -> dict[str, Any]:
    spare = signing_keys.generate_key(algorithm)
    with operator_work() as work:
        return _describe(key_rotation.rotate_in_emergency(work, algorithm, spare))


def _rotate(algorithm: str) -> dict[str, Any]:
    with operator_work() as work:
        active = signing_keys.find_key(work, algorithm, KeyState.ACTIVE)
        is_prepared = signing_keys.find_key(work, algorithm, KeyState.NEXT) is not None
    spare = None if is_prepared else signing_keys.generate_key(algorithm)
    with operator_work() as work:
        key = key_rotation.rotate_key(work, algorithm, spare, replacing=active.kid if active else None)
        is_known = key_rotation.is_known_to_verifiers(work, key)
    if not is_known:
        click.echo(_UNKNOWN, err=True)
    return _describe(key)


@keys.command()
@click.argument("kid")
@click.confirmation_option("--yes", prompt="Tokens signed by this key will verify no longer. Go on?")
@json_option
def retire(kid: str, as_json: bool) -> None:
    """Take a key out of the JWKS at once. The active one is replaced by `gatepost keys rotate --emergency`."""
    with operator_work() as work:
        document = _describe(key_rotation.retire_key(work, kid))
    show(document, as_json)


@keys.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--algorithm", type=click.Choice(SIGNING_ALGORITHMS), default="RS256", show_default=True, help="What it signs."
)
@json_option
def import_(file: Path, algorithm: str, as_json: bool) -> None:
    """Take over a PEM private key as the next one; the schedule or `gatepost keys rotate` lets it sign."""
    with operator_work() as work:
        try:
            document = _describe(key_rotation.import_key(work, file.read_bytes(), algorithm))
        except ValueError as error:
            raise click.ClickException(f"{file}: {error}.") from error
    show(document, as_json)
