"""Replicas of one issuer on one database, and nginx in front of them as docs/operations.md shows it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.support.components import REPOSITORY, missing
from tests.support.ports import free_port
from tests.support.servers import RUNNING, Server, prepare

START_SECONDS = 60.0


class Replica:
    """One `gatepost serve` that can be ended and started again."""

    def __init__(self, server: Server, workers: int) -> None:
        self.server = server
        self._workers = workers
        self.stop_seconds: list[float] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    def start(self) -> None:
        """Starts it and returns when it is ready."""
        with self.server.log.open("ab") as log:
            self.server.process = subprocess.Popen(
                [*self.server.program, "serve", "--workers", str(self._workers)],
                cwd=self.server.directory,
                env=self.server.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_until(200)

    def wait_until(self, status: int, seconds: float = START_SECONDS) -> float:
        """Returns when `/readyz` answers with `status`: after how many seconds."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if self.ready_status() == status:
                return time.monotonic() - began
            if self.server.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"/readyz did not answer {status} within {seconds:.0f} s\n{self.server.log_tail()}")

    def ready_status(self) -> int:
        """What `/readyz` answers; 0 when nothing does."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def stop(self) -> int:
        """Asks it to end and waits; the exit status."""
        began = time.monotonic()
        self.server.process.terminate()
        status = self.server.process.wait(40)
        self.stop_seconds.append(time.monotonic() - began)
        return status

    def workers(self) -> set[int]:
        """The process ids of its workers."""
        children = Path(f"/proc/{self.server.process.pid}/task/{self.server.process.pid}/children").read_text()
        return {int(child) for child in children.split()}

    def kill(self) -> None:
        """Ends it whatever it does."""
        with suppress(ProcessLookupError, AttributeError):
            os.killpg(self.server.process.pid, signal.SIGKILL)
            self.server.process.wait()


@contextmanager
def replicas(
    directory: Path,
    database_url: str,
    number: int,
    *,
    workers: int = 1,
    issuer_port: int | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[list[Replica]]:
    """Running replicas that share a database and a keyring; the issuer is at `issuer_port`, or the first replica."""
    ports = [free_port() for _ in range(number)]
    shared = {
        "GATEPOST_ISSUER": f"http://localhost:{issuer_port or ports[0]}",
        "GATEPOST_KEYS_DIR": str(directory / "keys"),
        **(settings or {}),
    }
    servers = [
        prepare(directory / f"replica{index}", port=port, database_url=database_url, settings=shared)
        for index, port in enumerate(ports)
    ]
    servers[0].run("keyring", "create")
    servers[0].run("db", "upgrade")
    with ExitStack() as stack:
        started = []
        for server in servers:
            server.issuer = shared["GATEPOST_ISSUER"]
            replica = Replica(server, workers)
            RUNNING.append(server)
            stack.callback(RUNNING.remove, server)
            stack.callback(replica.kill)
            replica.start()
            started.append(replica)
        yield started


class Nginx:
    """nginx on a port of its own, configured as the documentation says."""

    def __init__(self, directory: Path, port: int, upstreams: list[int]) -> None:
        found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if found is None:
            missing("nginx is not installed")
        self._program = found
        self._directory = directory
        self._port = port
        self._upstreams = upstreams
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nginx:
        """Starts it."""
        self._directory.mkdir(parents=True)
        self._write()
        self._process = subprocess.Popen(self._command("-g", "daemon off;"), stdin=subprocess.DEVNULL)
        try:
            self._wait_until_it_listens(self._process)
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            assert process.poll() is None, (self._directory / "error.log").read_text()
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.05)

    def _command(self, *arguments: str) -> list[str]:
        return [self._program, "-p", str(self._directory), "-c", "nginx.conf", "-e", "error.log", *arguments]

    def _write(self) -> None:
        servers = "\n".join(f"    server 127.0.0.1:{port} fail_timeout=1s;" for port in self._upstreams)
        listed = r"(?m)^(?:    server 127\.0\.0\.1:\d+ fail_timeout=1s;\n)+"
        site, replaced = re.subn(listed, f"{servers}\n", documented_nginx(), count=1)
        assert replaced
        site = site.replace("listen 443 ssl;", f"listen 127.0.0.1:{self._port};")
        site = re.sub(r"(?m)^    ssl_certificate.*\n", "", site).replace("$scheme", "http")
        user = "user root;\n" if os.geteuid() == 0 else ""
        (self._directory / "nginx.conf").write_text(
            f"{user}pid nginx.pid;\nworker_processes 1;\nevents {{ worker_connections 1024; }}\n"
            "http {\naccess_log off;\n"
            + "".join(f"{name}_temp_path {name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + site
            + "}\n"
        )


def documented_nginx() -> str:
    """The configuration that docs/operations.md shows."""
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    found = re.search(r"```nginx\n(.*?)```", page, re.S)
    assert found, "docs/operations.md shows no nginx configuration"
    return found[1]
