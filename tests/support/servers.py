"""Real processes for the tests that need them: Gatepost itself and a throwaway PostgreSQL.

Everything here binds to the loopback interface only, lives in a temporary folder and is gone when its context ends.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.support.components import REPOSITORY, missing, postgres_tool
from tests.support.ports import free_port

START_SECONDS = 60.0
STOP_SECONDS = 15.0

MEASURED = REPOSITORY / "tests" / "support" / "measured"
"""Comes first on the path of servers whose coverage is measured."""

RUNNING: "list[Server]" = []
"""Servers that run now; a failing test's report shows the end of their logs."""


class ServerFailed(Exception):
    """A server did not start, or a command of it failed; the message carries its output."""


@dataclass
class Installation:
    """A folder with its own settings, keyring and database, in which Gatepost's commands run."""

    directory: Path
    environment: dict[str, str]
    program: tuple[str, ...] = (sys.executable, "-m", "server")

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run `gatepost ARGUMENTS` and return what it printed.

        Raises ServerFailed with both streams when the command does not exit with 0.
        """
        finished = subprocess.run(
            [*self.program, *arguments],
            cwd=self.directory,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if finished.returncode != 0:
            raise ServerFailed(
                f"gatepost {' '.join(arguments)} exited with {finished.returncode}\n{finished.stdout}{finished.stderr}"
            )
        return finished.stdout

    def run_json(self, *arguments: str, stdin: str | None = None) -> Any:
        """Run a command with `--json` and return the parsed document."""
        return json.loads(self.run(*arguments, "--json", stdin=stdin))


@dataclass
class Server(Installation):
    """A Gatepost that answers HTTP."""

    issuer: str = ""
    port: int = 0
    log: Path = Path()
    process: subprocess.Popen[bytes] = field(init=False)

    def url(self, path: str) -> str:
        """The address of a path below the issuer."""
        return f"{self.issuer}{path}"

    def log_tail(self, lines: int = 60) -> str:
        """The end of what the server wrote."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> int:
        """End the server and its workers: asked first, then killed. Returns its exit status."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            return self.process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def wait_until_healthy(self) -> None:
        """Return when `/healthz` answers 200. Raises ServerFailed when the process ends or the time is up."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ServerFailed(f"the server ended with {self.process.returncode}\n{self.log_tail()}")
            with suppress(OSError, urllib.error.HTTPError):
                address = f"http://127.0.0.1:{self.port}{urllib.parse.urlsplit(self.issuer).path}/healthz"
                with urllib.request.urlopen(address, timeout=2) as answer:
                    if answer.status == 200:
                        return
            time.sleep(0.05)
        raise ServerFailed(f"the server did not answer within {START_SECONDS:.0f} s\n{self.log_tail()}")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without any Gatepost setting, able to import the checkout, plus `extra`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEPOST_")}
    measured = [str(MEASURED)] if "COVERAGE_PROCESS_CONFIG" in environment else []
    environment["PYTHONPATH"] = os.pathsep.join([*measured, str(REPOSITORY)])
    environment["PYTHONUNBUFFERED"] = "1"
    environment.update(extra or {})
    return environment


def prepare(
    directory: Path,
    *,
    port: int,
    issuer_path: str = "",
    database_url: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Server:
    """Settings for a server in `directory` that does not run yet; `run` works on it already.

    `issuer_path` is empty or begins with a slash; `settings` are environment variables that win over the defaults here.
    """
    directory.mkdir(parents=True, exist_ok=True)
    issuer = f"http://localhost:{port}{issuer_path}"
    defaults = {
        "GATEPOST_ISSUER": issuer,
        "GATEPOST_BIND": f"127.0.0.1:{port}",
        "GATEPOST_DATABASE_URL": database_url or f"sqlite:///{directory / 'gatepost.sqlite'}",
        "GATEPOST_KEYS_DIR": str(directory / "keys"),
        # No load balancer has to hear of it before a test's server goes.
        "GATEPOST_DRAIN_SECONDS": "0",
    }
    return Server(
        directory=directory,
        environment=clean_environment({**defaults, **(settings or {})}),
        issuer=issuer,
        port=port,
        log=directory / "server.log",
    )


@contextmanager
def running(server: Server, *command: str) -> Iterator[Server]:
    """Run `gatepost COMMAND` as a server in its own process group until the context ends."""
    with server.log.open("ab") as log:
        server.process = subprocess.Popen(
            [*server.program, *command],
            cwd=server.directory,
            env=server.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    RUNNING.append(server)
    try:
        server.wait_until_healthy()
        yield server
    finally:
        server.stop()
        RUNNING.remove(server)


@contextmanager
def start_server(
    directory: Path,
    command: Literal["serve", "dev"] = "serve",
    *,
    port: int | None = None,
    issuer_path: str = "",
    database_url: str | None = None,
    workers: int = 1,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A Gatepost that answers at its issuer, from an empty folder, until the context ends.

    `serve` gets its keyring and its tables first, as an operator would make them; `dev` makes its own.
    Raises ServerFailed with the server's log when it does not come up.
    """
    port = port or free_port()
    server = prepare(directory, port=port, issuer_path=issuer_path, database_url=database_url, settings=settings)
    if command == "dev":
        arguments = ["dev", "--port", str(port)]
    else:
        server.run("keyring", "create")
        server.run("db", "upgrade")
        arguments = ["serve", "--workers", str(workers)]
    with running(server, *arguments):
        yield server


@dataclass(frozen=True)
class PostgresCluster:
    """A PostgreSQL made for one test session."""

    port: int
    password: str
    directory: Path

    def url(self, database: str) -> str:
        """The address of a database in the form that Gatepost's settings take."""
        return f"postgresql://gatepost:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Make an empty database and return its address."""
        import psycopg

        name = f"gatepost_{os.urandom(6).hex()}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)


def _as_postgres(directory: Path) -> list[str]:
    """The words before a command so that it does not run as root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return []
    runuser = shutil.which("runuser")
    try:
        shutil.chown(directory, "postgres")
    except LookupError:
        missing("PostgreSQL does not run as root, and there is no user `postgres` to run it as")
    if not runuser:
        missing("PostgreSQL does not run as root, and `runuser` is not installed")
    return [runuser, "-u", "postgres", "--"]


@contextmanager
def postgres_cluster(*, is_durable: bool = True) -> Iterator[PostgresCluster]:
    """A PostgreSQL on a free loopback port, removed when the context ends.

    One that is not durable does not wait for its disk: what it has committed outlives processes, not a power cut.
    """
    initdb, pg_ctl = postgres_tool("initdb"), postgres_tool("pg_ctl")
    directory = Path(tempfile.mkdtemp(prefix="gatepost-pg-"))
    data, log = directory / "data", directory / "log"
    try:
        prefix = _as_postgres(directory)
        cluster = PostgresCluster(port=free_port(), password=os.urandom(16).hex(), directory=directory)
        password_file = directory / "password"
        password_file.write_text(cluster.password)
        password_file.chmod(0o644)  # the folder around it is closed
        make = ["-U", "gatepost", "-A", "scram-sha-256", f"--pwfile={password_file}", "--no-locale", "-E", "UTF8"]
        _checked([*prefix, str(initdb), "-D", str(data), *make], directory)
        options = f"-p {cluster.port} -k {directory} -c listen_addresses=127.0.0.1 -c max_connections=200"
        options += f" -c fsync={'on' if is_durable else 'off'}"
        start = [*prefix, str(pg_ctl), "-D", str(data), "-l", str(log), "-w", "-t", "60", "-o", options, "start"]
        _checked(start, directory, also_show=log)
        try:
            yield cluster
        finally:
            _checked([*prefix, str(pg_ctl), "-D", str(data), "-m", "immediate", "-w", "stop"], directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _checked(command: list[str], directory: Path, *, also_show: Path | None = None) -> None:
    """Run a command of PostgreSQL, and tell everything it said when it fails.

    The output goes to a file: the server that `pg_ctl` leaves behind would keep a pipe open.
    """
    with tempfile.TemporaryFile() as output:
        finished = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        output.seek(0)
        said = output.read().decode(errors="replace")
    if finished.returncode != 0:
        if also_show is not None and also_show.exists():
            said += also_show.read_text(errors="replace")
        raise ServerFailed(f"{' '.join(command)} exited with {finished.returncode}\n{said}")
