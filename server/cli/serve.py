"""`gatepost serve`: production, on granian: one worker per core."""

from __future__ import annotations

import gc
import os
import pkgutil
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import click
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from server.cli.console import faults_as_sentences, operator_work, settings_or_exit
from server.config import Settings
from server.domain import clients, signing_keys, users
from server.domain.key_rotation import remove_retired_keys
from server.domain.unit_of_work import UnitOfWork
from server.infra import draining, listening, memory
from server.infra.jose import SIGNING_ALGORITHMS
from server.infra.migrations import current_revision, newest_revision, serves
from server.infra.ports import is_free, split_bind

#: Named, not imported: the composition root stands above the command line.
_TARGET = "server.app:create_serving_app"
#: From SIGTERM to the end, whatever clients do.
_END_SECONDS = 30
#: At the end of the announced time no new connection is taken, so that none waits unserved when the listener closes.
_REFUSING_SECONDS = 0.1
#: Threads that wait for slow clients; the application itself runs one request at a time (`web/one_at_a_time.py`).
_CONNECTIONS = 256
_HEADER_TIMEOUT_MS = 10_000
_MAXIMUM_HEADER_BYTES = 65536


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
    _run(settings, host, port)


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


def _run(settings: Settings, host: str, port: int) -> None:
    # Until granian sets its own handler, a worker would keep the parent's, and ignore a SIGTERM while it starts.
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    flag = draining.make_flag()
    memory.keep_one_heap()
    # The workers are forked: what is imported before, and never moved by the garbage collector, is in memory once.
    pkgutil.resolve_name(_TARGET)
    gc.collect()
    gc.freeze()
    DrainingServer(
        _TARGET,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=settings.workers or os.cpu_count() or 1,
        blocking_threads=_CONNECTIONS,
        backpressure=_CONNECTIONS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIMEOUT_MS, max_buffer_size=_MAXIMUM_HEADER_BYTES),
        websockets=False,
        workers_kill_timeout=_END_SECONDS - settings.drain_seconds,
        respawn_failed_workers=True,
        log_level=LogLevels.error,
    ).drain_for(settings.drain_seconds).serve(
        target_loader=partial(_load_application, flag, port, settings.drain_seconds)
    )


def _load_application(flag: draining.Flag, port: int, drain_seconds: int, target: str) -> Callable[..., Any]:
    draining.adopt(flag)
    application: Callable[..., Any] = pkgutil.resolve_name(target)()
    if drain_seconds:
        patience = drain_seconds - _REFUSING_SECONDS
        threading.Thread(target=_refuse_at_the_end, args=(port, patience), name="last-connections", daemon=True).start()
    return application


def _refuse_at_the_end(port: int, patience: float) -> None:
    draining.wait(patience)
    listening.refuse_new_connections(port)


class DrainingServer(MPServer):
    """granian's server; before it ends it says so for a while, and still serves."""

    _drain_seconds = 0

    def drain_for(self, seconds: int) -> DrainingServer:
        """Sets how long; 0 ends at once."""
        self._drain_seconds = seconds
        return self

    def signal_handler_interrupt(self, signum: int, *_: Any) -> None:
        """Announces the end at the first SIGTERM; a second one, or Ctrl-C, does not wait."""
        if signum != signal.SIGTERM or not self._drain_seconds or draining.is_draining():
            self._end()
            return
        draining.announce()
        timer = threading.Timer(self._drain_seconds, self._end)
        timer.daemon = True
        timer.start()

    def _end(self) -> None:
        self.interrupt_signal = True
        self.main_loop_interrupt.set()

    def _respawn_workers(self, *arguments: Any, **options: Any) -> None:
        # Who signals the whole process group has ended the workers too; they are not wanted back.
        if draining.is_draining():
            self._end()
        else:
            super()._respawn_workers(*arguments, **options)
