"""`gatepost serve`: production, on granian: one worker per core."""

from __future__ import annotations

import click

from server.cli.console import faults_as_sentences, operator_work, settings_or_exit
from server.cli.main_process import Plan, become_main_process
from server.config import Settings
from server.domain import clients, signing_keys, users
from server.domain.key_rotation import remove_retired_keys
from server.domain.unit_of_work import UnitOfWork
from server.infra.cores import usable_cores
from server.infra.jose import SIGNING_ALGORITHMS
from server.infra.migrations import current_revision, newest_revision, serves
from server.infra.ports import is_free, split_bind


@click.command()
@click.option("--bind", help="HOST:PORT to listen on (GATEPOST_BIND).")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes (GATEPOST_WORKERS); one per core.")
def serve(bind: str | None, workers: int | None) -> None:
    """Serve in production.

    \b
    Needs, each with the command that makes it:
      an https issuer          GATEPOST_ISSUER=https://login.example.com
      a keyring                gatepost keyring create
      an up-to-date database   gatepost db upgrade
    """
    settings = settings_or_exit(
        **{name: value for name, value in {"bind": bind, "workers": workers}.items() if value is not None}
    )
    host, port = _host_and_port("GATEPOST_BIND", settings.bind)
    metrics = _host_and_port("GATEPOST_METRICS_BIND", settings.metrics_bind) if settings.metrics_bind else None
    check_ready(settings)
    _refuse_busy_port(host, port, "--bind HOST:PORT")
    if metrics:
        _refuse_busy_port(*metrics, "GATEPOST_METRICS_BIND")
    click.echo(f"Gatepost serves {settings.issuer} on {host}:{port}")
    workers = settings.workers or len(usable_cores())
    become_main_process(Plan(host, port, workers, settings.drain_seconds, settings.pin_workers))


def _host_and_port(name: str, bind: str) -> tuple[str, int]:
    try:
        return split_bind(bind)
    except ValueError as error:
        raise click.ClickException(f"{name}: {error}.") from error


def _refuse_busy_port(host: str, port: int, choice: str) -> None:
    if not is_free(host, port):
        raise click.ClickException(f"Port {port} on {host} is in use. Stop the other server, or choose: {choice}")


def check_ready(settings: Settings) -> None:
    """Refuses to start what would not be safe.

    Raises:
        ClickException: with the sentence that mends it.
    """
    if settings.environment != "production":
        raise click.ClickException("GATEPOST_ENVIRONMENT is not production. Unset it, or use: gatepost dev")
    if settings.outbound_allow_loopback and not settings.is_on_this_machine:
        raise click.ClickException(
            "GATEPOST_OUTBOUND_ALLOW_LOOPBACK is for tests: with it whoever registers a client can reach what "
            "listens on this machine. Unset it."
        )
    with faults_as_sentences():
        revision = current_revision(settings)
    # The keyring is checked on the way: missing or readable by others, it does not load.
    if not serves(revision):
        raise click.ClickException("The database is not at this version's schema. Run: gatepost db upgrade")
    if revision != newest_revision():
        click.echo(f"The database is at {revision} already, which a later version made. That is fine while you deploy.")
    with operator_work(settings) as work:
        _refuse_demo_seed(work)
        signing_keys.ensure_keys(work)
        for algorithm in SIGNING_ALGORITHMS:
            # Opens each key, so that a keyring of another deployment is found now and not by the first client.
            signing_keys.signing_key(work, algorithm)
        remove_retired_keys(work)


def _refuse_demo_seed(work: UnitOfWork) -> None:
    if users.has_demo_user(work) or clients.has_demo_client(work):
        raise click.ClickException(
            "This database holds the demo user and clients of `gatepost dev`. Use another "
            "database, or remove them with `gatepost users delete` and `gatepost clients delete`."
        )
