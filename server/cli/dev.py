"""`gatepost dev`: everything at once on this machine, to try and to develop against."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final

import click
from waitress.server import create_server

from server.cli import conformance as conformance_run
from server.cli.console import faults_as_sentences, operator_work, settings_or_exit
from server.config import Settings
from server.domain import clients, demo_seed, signing_keys, users
from server.domain.demo_seed import DemoCredentials
from server.infra.keyring import FILE_NAME, create_keyring
from server.infra.migrations import current_revision, rebuild, upgrade
from server.infra.ports import is_free

#: Named, not imported: the composition root stands above the command line.
_TARGET: Final = "server.app:create_dev_app"
_PORT: Final = 8000
_CREDENTIALS: Final = Path("var/dev-credentials.json")
_THREADS: Final = 8


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; 8000, or 9443 with --conformance.")
@click.option("--reset", is_flag=True, help="Empty the database first.")
@click.option("--conformance", is_flag=True, help="Over TLS, with all that the OpenID conformance suite needs.")
@click.option("--suite", default=conformance_run.SUITE, show_default=True, help="The suite's URL, with --conformance.")
def dev(host: str, port: int | None, reset: bool, conformance: bool, suite: str) -> None:
    """Run Gatepost on this machine with a demo person and demo clients. Makes all it needs; run it again at will."""
    port = port or (conformance_run.PORT if conformance else _PORT)
    settings = _dev_settings(conformance_run.default_settings(port, suite) if conformance else _default_settings(port))
    if conformance:
        conformance_run.check_settings(settings, suite)
    if not is_free(host, port):
        raise click.ClickException(
            f"Port {port} is in use. Stop the other server, or choose: gatepost dev --port {port % 65535 + 1}"
        )
    with faults_as_sentences():
        if not (settings.keys_dir / FILE_NAME).exists():
            create_keyring(settings.keys_dir)
        was_there = _prepare_database(settings, reset)
    if conformance:
        _run_conformance(settings, (host, port), suite, was_there)
    else:
        _run_demo(settings, (host, port), was_there)


def _run_demo(settings: Settings, address: tuple[str, int], was_there: bool) -> None:
    with operator_work(settings) as work:
        signing_keys.ensure_keys(work)
        credentials = demo_seed.seed(work, settings.url("/dev/try/callback"), _read_credentials())
    _write_credentials(credentials)
    create_app: Callable[..., Any] = resolve_name(_TARGET)
    host, port = address
    listener = create_server(create_app(settings, credentials), host=host, port=port, threads=_THREADS)
    click.echo(_welcome(settings, credentials, was_there))
    listener.run()


def _run_conformance(settings: Settings, address: tuple[str, int], suite: str, was_there: bool) -> None:
    with operator_work(settings) as work:
        credentials = conformance_run.prepare(work, suite)
    certificate = conformance_run.write_files(settings, credentials, suite)
    click.echo(conformance_run.welcome(settings, credentials, suite, was_there))
    conformance_run.serve(settings, *address, certificate)


def _default_settings(port: int) -> dict[str, Any]:
    return {"issuer": f"http://localhost:{port}", "database_url": "sqlite:///var/dev.sqlite"}


def _dev_settings(defaults: dict[str, Any]) -> Settings:
    """The configuration, and `defaults` for what it does not give."""
    given = settings_or_exit(environment="development").model_fields_set
    return settings_or_exit(
        environment="development", **{name: value for name, value in defaults.items() if name not in given}
    )


def _prepare_database(settings: Settings, reset: bool) -> bool:
    """Migrates; returns whether the database was there already.

    Raises:
        ClickException: when the database is a deployment's: it is neither seeded nor emptied.
    """
    if current_revision(settings) is not None:
        _refuse_deployment(settings)
    before, _ = upgrade(settings)
    if reset and before is not None:
        rebuild(settings)
    return before is not None and not reset


def _refuse_deployment(settings: Settings) -> None:
    with operator_work(settings) as work:
        is_in_use = users.list_users(work) or clients.list_clients(work)
        if is_in_use and not users.has_demo_user(work):
            raise click.ClickException(
                "This database is in use by a deployment; `gatepost dev` wants one of its own. Unset "
                "GATEPOST_DATABASE_URL, or point it elsewhere."
            )


def _read_credentials() -> DemoCredentials | None:
    try:
        return DemoCredentials(**json.loads(_CREDENTIALS.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        # Missing, or of another version: new ones are made.
        return None


def _write_credentials(credentials: DemoCredentials) -> None:
    _CREDENTIALS.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(_CREDENTIALS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(credentials), file, indent=2)


def _welcome(settings: Settings, credentials: DemoCredentials, was_there: bool) -> str:
    issuer, machine = settings.issuer, f"{demo_seed.MACHINE}:{credentials.machine_secret}"
    curl = f"curl -u {machine} -d grant_type=client_credentials {issuer}/oauth/token"
    return f"""
Gatepost is ready.{" The database was there already; --reset empties it." if was_there else ""}

Issuer      {issuer}
Sign in     {demo_seed.EMAIL} / {credentials.password}
Try it      {issuer}/dev/try   (a client that runs the whole flow and shows every step)
Dashboard   {issuer}/dashboard   (the demo person owns an organization there)
Discovery   {issuer}/.well-known/openid-configuration
A token     {curl}

Press Ctrl-C to stop."""
