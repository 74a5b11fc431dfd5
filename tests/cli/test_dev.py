"""`gatepost dev`: makes all it needs, tells it in one block, and keeps off what is somebody's deployment."""

from __future__ import annotations

import json
import re
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from server.cli import dev
from server.domain.client_secrets import verify_client_secret
from server.domain.clients import get_client
from server.domain.passwords import verify_password
from server.domain.usage_writing import UsageWriter
from server.domain.users import get_user
from server.infra.database import database
from server.web.mail_worker import MailWorker
from server.web.outbox_worker import OutboxWorker
from tests.support.application import Gatepost
from tests.support.ports import free_port

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

#: The threads of a server that `gatepost dev` starts.
WORKERS = (MailWorker, OutboxWorker, UsageWriter)


class Listener:
    """Stands where waitress would listen: remembers what it was given, and serves nobody."""

    started: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, app: Any, **options: Any) -> None:
        self.options = {"app": app, **options}

    def run(self) -> None:
        Listener.started.append(self.options)


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    Listener.started = []
    monkeypatch.setattr(dev, "create_server", Listener)
    before = threading.enumerate()
    yield Listener.started
    # A thread that had not begun yet would take the next test's folder for its own.
    workers = [thread for thread in threading.enumerate() if isinstance(thread, WORKERS) and thread not in before]
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.join()
    for options in Listener.started:
        with options["app"].app_context():
            database.engine.dispose()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def first(empty_cli: Cli, port: int) -> str:
    """What the first run prints, in an empty folder."""
    return empty_cli.ok("dev", "--port", str(port))


@contextmanager
def made(cli: Cli) -> Iterator[Gatepost]:
    """What `gatepost dev` made."""
    with cli.gatepost(database_url=f"sqlite:///{cli.folder / 'var' / 'dev.sqlite'}") as gatepost:
        yield gatepost


def credentials(cli: Cli) -> dict[str, str]:
    return json.loads((cli.folder / "var" / "dev-credentials.json").read_text())


def test_everything_is_made_in_an_empty_folder(empty_cli: Cli, first: str) -> None:
    assert stat.S_IMODE((empty_cli.folder / "keys" / "keyring.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((empty_cli.folder / "var" / "dev-credentials.json").stat().st_mode) == 0o600
    kept = credentials(empty_cli)
    with made(empty_cli) as gatepost, gatepost.work() as work:
        assert verify_password(work, get_user(work, "demo@example.com"), kept["password"])
        assert verify_client_secret(work, get_client(work, "demo-web"), kept["web_secret"])
        assert verify_client_secret(work, get_client(work, "demo-machine"), kept["machine_secret"])


def test_block_tells_all_that_a_newcomer_needs(empty_cli: Cli, first: str, port: int) -> None:
    kept, issuer = credentials(empty_cli), f"http://localhost:{port}"
    curl = f"curl -u demo-machine:{kept['machine_secret']} -d grant_type=client_credentials {issuer}/oauth/token"
    assert first.splitlines() == [
        "",
        "Gatepost is ready.",
        "",
        f"Issuer      {issuer}",
        f"Sign in     demo@example.com / {kept['password']}",
        f"Try it      {issuer}/dev/try   (a client that runs the whole flow and shows every step)",
        f"Dashboard   {issuer}/dashboard   (the demo person owns an organization there)",
        f"Discovery   {issuer}/.well-known/openid-configuration",
        f"A token     {curl}",
        "",
        "Press Ctrl-C to stop.",
    ]


def test_curl_line_needs_no_quoting_in_a_shell(first: str) -> None:
    line = next(line for line in first.splitlines() if line.startswith("A token"))
    assert re.fullmatch(r"A token     [A-Za-z0-9 :/_.=-]+", line)


def test_application_listens_where_it_was_told(first: str, started: list[dict[str, Any]], port: int) -> None:
    (options,) = started
    assert (options["host"], options["port"]) == ("127.0.0.1", port)
    client = options["app"].test_client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/.well-known/openid-configuration").get_json()["issuer"] == f"http://localhost:{port}"
    assert client.get("/dev/try").status_code == 200


def test_second_run_finds_everything_again(empty_cli: Cli, first: str, port: int) -> None:
    kept = credentials(empty_cli)
    second = empty_cli.ok("dev", "--port", str(port))
    assert "Gatepost is ready. The database was there already; --reset empties it." in second
    assert credentials(empty_cli) == kept
    assert second.splitlines()[3:] == first.splitlines()[3:]


def test_reset_empties_the_database(empty_cli: Cli, first: str, port: int) -> None:
    with made(empty_cli) as gatepost:
        gatepost.add_user("somebody@example.com")
    text = empty_cli.ok("dev", "--port", str(port), "--reset")
    assert "was there already" not in text
    with made(empty_cli) as gatepost, gatepost.work() as work:
        assert get_user(work, "demo@example.com")
    with made(empty_cli) as gatepost:
        assert len(gatepost.audit_rows("user.created")) == 1


def test_reset_is_harmless_when_there_is_nothing_yet(empty_cli: Cli, port: int) -> None:
    assert "Gatepost is ready.\n" in empty_cli.ok("dev", "--port", str(port), "--reset")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"password": "x"}', '{"another": "version"}'])
def test_credentials_are_renewed_when_the_kept_ones_cannot_be_read(
    empty_cli: Cli, first: str, port: int, content: str
) -> None:
    (empty_cli.folder / "var" / "dev-credentials.json").write_text(content)
    empty_cli.ok("dev", "--port", str(port))
    kept = credentials(empty_cli)
    with made(empty_cli) as gatepost, gatepost.work() as work:
        assert verify_password(work, get_user(work, "demo@example.com"), kept["password"])


def test_settings_of_the_environment_are_kept(empty_cli: Cli, port: int) -> None:
    empty_cli.variables |= {
        "GATEPOST_ISSUER": "http://127.0.0.1:9999/tenant",
        "GATEPOST_DATABASE_URL": "sqlite:///elsewhere.sqlite",
        "GATEPOST_ENVIRONMENT": "production",
    }
    text = empty_cli.ok("dev", "--port", str(port))
    assert "Issuer      http://127.0.0.1:9999/tenant\n" in text
    assert (empty_cli.folder / "elsewhere.sqlite").is_file()
    assert not (empty_cli.folder / "var" / "dev.sqlite").exists()


# ------------------------------------------------------------------------------------------------------------ refusals


def test_run_is_refused_when_the_port_is_busy(empty_cli: Cli, started: list[dict[str, Any]]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        sentence = empty_cli.fault("dev", "--port", str(port))
    assert sentence == f"Port {port} is in use. Stop the other server, or choose: gatepost dev --port {port + 1}"
    assert started == []
    assert list(empty_cli.folder.iterdir()) == []


@pytest.mark.parametrize("reset", [[], ["--reset"]])
def test_run_keeps_off_a_deployments_database(
    cli: Cli, started: list[dict[str, Any]], port: int, reset: list[str]
) -> None:
    assert "This database is in use by a deployment" in cli.fault("dev", "--port", str(port), *reset)
    assert started == []
    assert [row["email"] for row in cli.json("users", "list")] == ["ada@example.com"]


def test_run_is_refused_when_the_database_is_away(empty_cli: Cli, port: int) -> None:
    (empty_cli.folder / "folder").mkdir()
    empty_cli.variables["GATEPOST_DATABASE_URL"] = "sqlite:///folder"
    sentence = empty_cli.fault("dev", "--port", str(port))
    assert sentence.startswith("The database does not answer, or was never made. Check GATEPOST_DATABASE_URL")


def test_run_is_refused_when_others_may_read_the_keyring(empty_cli: Cli, first: str, port: int) -> None:
    (empty_cli.folder / "keys" / "keyring.json").chmod(0o644)
    assert "chmod 600" in empty_cli.fault("dev", "--port", str(port))


def test_run_is_refused_when_the_keyring_cannot_be_made(empty_cli: Cli, port: int) -> None:
    Path("keys").write_text("")
    assert "keys" in empty_cli.fault("dev", "--port", str(port))


def test_run_is_refused_when_a_setting_is_wrong(empty_cli: Cli, port: int) -> None:
    empty_cli.variables["GATEPOST_LOG_LEVEL"] = "loud"
    assert empty_cli.fault("dev", "--port", str(port)).startswith("GATEPOST_LOG_LEVEL: ")


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_port_is_a_usage_error_when_it_is_none(empty_cli: Cli, port: str) -> None:
    assert empty_cli.run("dev", "--port", port).exit_code == 2


def test_next_port_is_suggested_within_range(empty_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "is_free", lambda *_: False)
    assert "65536" not in empty_cli.fault("dev", "--port", "65535")
