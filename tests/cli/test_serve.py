"""`gatepost serve`: refuses what would not be safe, each time with the sentence that mends it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from granian.constants import HTTPModes, Interfaces

from server.cli import main_process, serve
from server.domain.key_rotation import rotate_key
from server.domain.signing_keys import ALGORITHMS
from server.infra import draining
from server.infra.keyring import create_keyring
from tests.support.ports import free_port

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


class RecordedServer:
    """Stands where granian's server would: remembers how it was set up, and serves nobody."""

    started: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, target: str, **options: Any) -> None:
        self.options = {"target": target, **options}

    def drain_for(self, seconds: int) -> RecordedServer:
        self.options["drain_seconds"] = seconds
        return self

    def keep_cores(self, wanted: bool) -> RecordedServer:
        self.options["keeps_cores"] = wanted
        return self

    def serve(self, target_loader: Callable[[str], Any]) -> None:
        RecordedServer.started.append({**self.options, "target_loader": target_loader})


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    RecordedServer.started = []
    monkeypatch.setattr(main_process, "DrainingServer", RecordedServer)
    monkeypatch.setattr(serve, "become_main_process", main_process.run)
    yield RecordedServer.started
    draining.adopt(None)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def ready(cli: Cli, port: int) -> Cli:
    """A deployment that may serve."""
    cli.variables["GATEPOST_ISSUER"] = "https://login.example.com"
    cli.variables["GATEPOST_BIND"] = f"127.0.0.1:{port}"
    return cli


def test_server_starts_as_configured_when_everything_is_there(
    ready: Cli, started: list[dict[str, Any]], port: int
) -> None:
    ready.variables["GATEPOST_WORKERS"] = "3"
    assert ready.ok("serve") == f"Gatepost serves https://login.example.com on 127.0.0.1:{port}\n"
    (options,) = started
    assert options["target"] == "server.app:create_serving_app"
    assert (options["address"], options["port"], options["workers"]) == ("127.0.0.1", port, 3)
    assert (options["interface"], options["http"]) == (Interfaces.WSGI, HTTPModes.http1)
    assert options["websockets"] is False
    assert options["respawn_failed_workers"] is options["keeps_cores"] is True
    assert options["http1_settings"].header_read_timeout == 10_000


def test_one_worker_a_core_is_started_when_nothing_is_said(ready: Cli, started: list[dict[str, Any]]) -> None:
    ready.ok("serve")
    assert started[0]["workers"] == len(os.sched_getaffinity(0))


def test_workers_are_not_kept_to_cores_when_the_operator_says_so(ready: Cli, started: list[dict[str, Any]]) -> None:
    ready.variables["GATEPOST_PIN_WORKERS"] = "false"
    ready.ok("serve")
    assert started[0]["keeps_cores"] is False


def test_flags_win_over_variables(ready: Cli, started: list[dict[str, Any]], port: int) -> None:
    ready.variables |= {"GATEPOST_BIND": "127.0.0.1:1", "GATEPOST_WORKERS": "3"}
    ready.ok("serve", "--bind", f"127.0.0.1:{port}", "--workers", "5")
    assert (started[0]["port"], started[0]["workers"]) == (port, 5)


def test_http_issuer_is_fine_on_localhost(ready: Cli, started: list[dict[str, Any]]) -> None:
    ready.variables["GATEPOST_ISSUER"] = "http://localhost:8000"
    ready.ok("serve")
    assert len(started) == 1


def test_missing_signing_keys_are_made_at_the_first_start(empty_cli: Cli, started: list[dict[str, Any]]) -> None:
    empty_cli.ok("keyring", "create")
    empty_cli.ok("db", "upgrade")
    empty_cli.variables["GATEPOST_BIND"] = "127.0.0.1:65432"
    empty_cli.ok("serve")
    assert {key["algorithm"] for key in empty_cli.json("keys", "list")} == set(ALGORITHMS)
    assert len(started) == 1


def test_retired_keys_are_removed_at_the_start(ready: Cli) -> None:
    with ready.gatepost() as gatepost:
        gatepost.clock.advance(-400 * 86400)
        with gatepost.work() as work:
            rotate_key(work, "ES256")
    ready.ok("serve")
    states = [key["state"] for key in ready.json("keys", "list") if key["algorithm"] == "ES256"]
    assert sorted(states) == ["active", "removed"]


# ------------------------------------------------------------------------------------------------------------ refusals


def http_issuer(cli: Cli) -> None:
    cli.variables["GATEPOST_ISSUER"] = "http://login.example.com"


def development(cli: Cli) -> None:
    cli.variables["GATEPOST_ENVIRONMENT"] = "development"


def no_keyring(cli: Cli) -> None:
    (cli.folder / "keys" / "keyring.json").unlink()


def readable_keyring(cli: Cli) -> None:
    (cli.folder / "keys" / "keyring.json").chmod(0o640)


def another_keyring(cli: Cli) -> None:
    no_keyring(cli)
    create_keyring(cli.folder / "keys")


def no_database(cli: Cli) -> None:
    cli.variables["GATEPOST_DATABASE_URL"] = "sqlite:///fresh.sqlite"


def older_schema(cli: Cli) -> None:
    with cli.gatepost() as gatepost, gatepost.work() as work:
        work.db.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")


def database_away(cli: Cli) -> None:
    (cli.folder / "folder").mkdir()
    cli.variables["GATEPOST_DATABASE_URL"] = "sqlite:///folder"


def demo_user(cli: Cli) -> None:
    with cli.gatepost() as gatepost:
        gatepost.add_user("demo@example.com", is_demo=True)


def demo_client(cli: Cli) -> None:
    with cli.gatepost() as gatepost:
        gatepost.add_client("machine", is_demo=True)


def bad_bind(cli: Cli) -> None:
    cli.variables["GATEPOST_BIND"] = "localhost"


def bad_metrics_bind(cli: Cli) -> None:
    cli.variables["GATEPOST_METRICS_BIND"] = "127.0.0.1:70000"


REFUSALS: list[tuple[Callable[[Cli], None], str]] = [
    (http_issuer, "GATEPOST_ISSUER: must be https; http is allowed on localhost only"),
    (development, "GATEPOST_ENVIRONMENT is not production. Unset it, or use: gatepost dev"),
    (no_keyring, "There is no keyring at keys/keyring.json. Make one with: gatepost keyring create"),
    (readable_keyring, "can be read by others (mode 0640). Run: chmod 600 keys/keyring.json"),
    (another_keyring, "encrypted under a key that is not in this keyring"),
    (no_database, "The database is not at this version's schema. Run: gatepost db upgrade"),
    (older_schema, "The database is not at this version's schema. Run: gatepost db upgrade"),
    (database_away, "The database does not answer, or was never made. Check GATEPOST_DATABASE_URL"),
    (demo_user, "This database holds the demo user and clients of `gatepost dev`. Use another database"),
    (demo_client, "This database holds the demo user and clients of `gatepost dev`. Use another database"),
    (bad_bind, "GATEPOST_BIND: 'localhost' is not HOST:PORT, such as 127.0.0.1:8000."),
    (bad_metrics_bind, "GATEPOST_METRICS_BIND: '127.0.0.1:70000' is not HOST:PORT, such as 127.0.0.1:8000."),
]


@pytest.mark.parametrize(("spoil", "sentence"), REFUSALS, ids=[spoil.__name__ for spoil, _ in REFUSALS])
def test_start_is_refused_with_the_sentence_that_mends_it(
    ready: Cli, started: list[dict[str, Any]], spoil: Callable[[Cli], None], sentence: str
) -> None:
    spoil(ready)
    assert sentence in ready.fault("serve")
    assert started == []


def test_start_never_makes_a_keyring(ready: Cli) -> None:
    no_keyring(ready)
    ready.fault("serve")
    assert not (ready.folder / "keys" / "keyring.json").exists()


def test_start_is_refused_when_the_port_is_busy(ready: Cli, started: list[dict[str, Any]]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        sentence = ready.fault("serve", "--bind", f"127.0.0.1:{port}")
    assert sentence == f"Port {port} on 127.0.0.1 is in use. Stop the other server, or choose: --bind HOST:PORT"
    assert started == []


def test_start_is_refused_when_the_port_of_the_metrics_is_busy(ready: Cli, started: list[dict[str, Any]]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        ready.variables["GATEPOST_METRICS_BIND"] = f"127.0.0.1:{port}"
        sentence = ready.fault("serve")
    assert sentence.startswith(f"Port {port} on 127.0.0.1 is in use.")
    assert started == []


@pytest.mark.spec("R-28")
def test_server_starts_when_a_later_version_has_upgraded_the_schema(ready: Cli, started: list[dict[str, Any]]) -> None:
    with ready.gatepost() as gatepost, gatepost.work() as work:
        work.db.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9001_next'")
    assert "The database is at 9001_next already" in ready.ok("serve")
    assert len(started) == 1


@pytest.mark.parametrize("options", [("--workers", "0"), ("--workers", "many")])
def test_flag_is_a_usage_error_when_its_value_is_none(ready: Cli, options: tuple[str, str]) -> None:
    assert ready.run("serve", *options).exit_code == 2


@pytest.mark.postgres
def test_start_is_refused_when_postgresql_does_not_answer(ready: Cli, started: list[dict[str, Any]]) -> None:
    ready.variables["GATEPOST_DATABASE_URL"] = "postgresql://127.0.0.1:1/gate"
    assert ready.fault("serve").startswith("The database does not answer, or was never made.")
    assert started == []
