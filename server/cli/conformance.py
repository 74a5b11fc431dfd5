"""`gatepost dev --conformance`: what the OpenID Foundation's conformance suite runs against, TLS included."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final
from urllib.parse import urlsplit

import click
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.log import LogLevels
from granian.server.mp import MPServer

from server.cli.conformance_plans import ALIAS, plans
from server.config import Settings
from server.domain import conformance_seed, demo_seed, signing_keys
from server.domain.conformance_seed import ConformanceCredentials
from server.domain.unit_of_work import UnitOfWork
from server.infra.certificates import CertificateAuthority, ServerCertificate
from server.infra.clock import SystemClock

FOLDER: Final = Path("var/conformance")
PORT: Final = 9443
#: Where the suite answers when it runs on the same machine.
SUITE: Final = "https://localhost.emobix.co.uk:8443"
#: Named, not imported: the composition root stands above the command line.
_TARGET: Final = "server.app:create_serving_app"
_CONNECTIONS: Final = 64
_PLENTY: Final = 1_000_000


def default_settings(port: int, suite: str = SUITE) -> dict[str, Any]:
    """The settings of a conformance run; whatever the environment says wins."""
    return {
        "issuer": f"https://op.test:{port}",
        "database_url": "sqlite:///var/conformance.sqlite",
        "registration": "open",
        # Each module registers a client or two, all from one address.
        "registration_per_hour": _PLENTY,
        "registration_maximum": _PLENTY,
        "outbound_allow_loopback": True,
        "outbound_ports": tuple({443, 8443, urlsplit(suite).port or 443}),
        "outbound_ca_file": FOLDER / "ca.pem",
    }


def check_settings(settings: Settings, suite: str) -> None:
    """Refuses what would make every module fail, or a public server unsafe.

    Raises:
        ClickException: with the sentence that mends it.
    """
    if urlsplit(suite).scheme != "https" or not urlsplit(suite).hostname:
        raise click.ClickException(f"--suite is the address of the suite, such as {SUITE}")
    if not settings.is_https:
        raise click.ClickException("The suite wants https. Unset GATEPOST_ISSUER, or give one that begins with https.")
    if not settings.is_on_this_machine:
        raise click.ClickException(
            "With --conformance anybody may register clients that reach this machine, so the issuer must be a test's: "
            "localhost, or a name that ends in .test or .localhost. For a public issuer see docs/conformance.md."
        )


def prepare(work: UnitOfWork, suite: str) -> ConformanceCredentials:
    """Keys, the person and the clients; what they sign in with."""
    signing_keys.ensure_keys(work)
    return conformance_seed.seed(work, f"{suite.rstrip('/')}/test/a/{ALIAS}", _read_credentials())


def write_files(settings: Settings, credentials: ConformanceCredentials, suite: str) -> ServerCertificate:
    """Writes the plans' configurations and whatever certificates are missing; returns Gatepost's own."""
    _write_private("credentials.json", asdict(credentials))
    for name, plan in plans(settings, credentials).items():
        _write_private(name, plan)
    authority = CertificateAuthority(FOLDER, SystemClock().now())
    local = ["localhost", "127.0.0.1", "::1"]
    authority.certificate_for("suite", _distinct([_host(suite), *local]))
    return authority.certificate_for("gatepost", _distinct([_host(settings.issuer), *local]))


def serve(settings: Settings, host: str, port: int, certificate: ServerCertificate) -> None:
    """Serves over TLS 1.2 and 1.3 as in production, in one process, until it is told to end."""
    # Until granian sets its own handler, a worker would keep the parent's, and ignore a SIGTERM while it starts.
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    MPServer(
        _TARGET,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=_CONNECTIONS,
        backpressure=_CONNECTIONS,
        http=HTTPModes.http1,
        websockets=False,
        ssl_cert=certificate.chain,
        ssl_key=certificate.key,
        ssl_protocol_min=SSLProtocols.tls12,
        log_level=LogLevels.error,
    ).serve(target_loader=partial(_load_application, settings))


def _load_application(settings: Settings, target: str) -> Callable[..., Any]:
    create_app: Callable[[Settings], Callable[..., Any]] = resolve_name(target)
    return create_app(settings)


def welcome(settings: Settings, credentials: ConformanceCredentials, suite: str, was_there: bool) -> str:
    """What is said when all is ready."""
    rows = {
        "Issuer": settings.issuer,
        "Discovery": settings.url("/.well-known/openid-configuration"),
        "Sign in": f"{demo_seed.EMAIL} / {credentials.password}",
        **{name: f"{name} / {secret}" for name, secret in credentials.secrets.items()},
        "Suite": suite,
        "Plans": f"{FOLDER}/plan.json, plan-backchannel.json, plan-frontchannel.json",
        "Authority": f"{FOLDER}/ca.pem   (trusts {FOLDER}/gatepost.pem and, for the suite's proxy, suite.pem)",
    }
    labels = {conformance_seed.CLIENT: "client", conformance_seed.CLIENT2: "client2"} | {
        conformance_seed.CLIENT_SECRET_POST: "client_secret_post",
        conformance_seed.BACKCHANNEL: "back-channel",
        conformance_seed.FRONTCHANNEL: "front-channel",
    }
    lines = "\n".join(f"{labels.get(name, name):<20}{value}" for name, value in rows.items())
    there = " The database was there already; --reset empties it." if was_there else ""
    return f"\nGatepost is ready for the conformance suite.{there}\n\n{lines}\n\nPress Ctrl-C to stop."


def _host(url: str) -> str:
    return urlsplit(url).hostname or "localhost"


def _distinct(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _read_credentials() -> ConformanceCredentials | None:
    try:
        return ConformanceCredentials(**json.loads((FOLDER / "credentials.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        # Missing, or of another version: new ones are made.
        return None


def _write_private(name: str, document: dict[str, Any]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(FOLDER / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
