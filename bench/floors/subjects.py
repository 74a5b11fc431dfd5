"""The floors as subjects: a bare server, and the databases without a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from bench import http, load, processes
from bench.load import Limits
from bench.subject import HttpSubject, Sample, Work
from server.infra import cores
from tests.support.components import REPOSITORY
from tests.support.servers import clean_environment, free_port

SIGN, VERIFY, CONSTANT, HASH = "sign only", "verify only", "constant body", "argon2id only"
ROTATION = "rotation only"
SERVER = "floor: WSGI"
RAW_POSTGRES, RAW_SQLITE = "floor: psycopg", "floor: sqlite3"
_PATHS = {SIGN: "/sign", VERIFY: "/verify", CONSTANT: "/constant", HASH: "/hash"}
POSTGRES_CLIENTS = 8
FLOORS = (*_PATHS, ROTATION)


class FloorServer(HttpSubject):
    """granian with one blocking thread per worker over an application of a few lines."""

    operations: tuple[str, ...] = tuple(_PATHS)

    def prepare(self, operation: str, limits: Limits) -> Work:
        """The path of the operation."""
        return Work(http.the_same(http.get(self.port, _PATHS[operation])))

    def about(self) -> str:
        """One line for the report."""
        return (
            f"bare WSGI on granian {version('granian')}, one blocking thread per worker, as many workers as Gatepost, "
            "each kept to a core as there"
        )


@contextmanager
def floor_server(workers: int, log: Path) -> Iterator[FloorServer]:
    """The bare server, until the context ends."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws", "--port", str(port)]
    command += ["--workers", str(workers), "--blocking-threads", "1", "--log-level", "error", "bench.floors.app:app"]
    with process(command, log) as running:
        wait_until_open(port, "/constant", running, log)
        _keep_workers_to_cores(running.pid)
        yield FloorServer(SERVER, port, running.pid)


def _keep_workers_to_cores(root: int) -> None:
    workers = processes.tree(root)[1:]
    for number, worker in enumerate(workers):
        core = cores.core_of(number, len(workers))
        for thread in Path(f"/proc/{worker}/task").iterdir():
            if core is not None:
                os.sched_setaffinity(int(thread.name), {core})


@contextmanager
def process(
    command: list[str], log: Path, directory: Path = REPOSITORY, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that is asked to end, and then made to, when the context ends."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            command, cwd=directory, env={**clean_environment(), **(environment or {})}, stdout=output, stderr=output
        )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def wait_until_open(port: int, path: str, running: subprocess.Popen[bytes], log: Path, seconds: float = 40) -> None:
    """Returns when the path answers; raises LoadFailed with the end of the log otherwise."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and running.poll() is None:
        try:
            load.run(port, http.the_same(http.get(port, path)), Limits(seconds=1, requests=1, connections=1))
            return
        except (OSError, load.LoadFailed):
            time.sleep(0.1)
    raise load.LoadFailed(f"{running.args!r} did not answer at {path}:\n{log.read_text(errors='replace')[-3000:]}")


class RawRotation:
    """Refresh rotation through the bare driver, in a process of its own."""

    operations: tuple[str, ...] = (ROTATION,)
    differs: Mapping[str, str] = {}

    def __init__(self, name: str, url: str, clients: int, database_root: int | None) -> None:
        self.name, self._url, self._clients, self._database_root = name, url, clients, database_root

    def about(self) -> str:
        """One line for the report."""
        if self._database_root:
            return f"psycopg {version('psycopg')}, {self._clients} connections, rotation as one statement in autocommit"
        return "Python's sqlite3, one connection, WAL, synchronous=FULL, UPDATE and INSERT in one transaction"

    def warm_up(self, limits: Limits) -> None:
        """Its processes live for one cell."""

    def pss_bytes(self) -> None:
        """It has ended when this is asked."""

    def measure(self, operation: str, limits: Limits) -> Sample:
        """Rotates for as long as a load would run."""
        command = [sys.executable, "-m", "bench.floors.rotation", self._url, str(limits.seconds), str(self._clients)]
        before = processes.cpu_seconds(self._database_root) if self._database_root else 0.0
        done = subprocess.run(
            command, cwd=REPOSITORY, env=clean_environment(), capture_output=True, text=True, check=True, timeout=120
        )
        after = processes.cpu_seconds(self._database_root) if self._database_root else 0.0
        result = json.loads(done.stdout)
        count = max(len(result["latencies"]), 1)
        return Sample(
            subject=self.name,
            operation=operation,
            requests=count,
            seconds=result["seconds"],
            cpu_us=result["cpu"] / count * 1e6,
            database_us=(after - before) / count * 1e6 if self._database_root else None,
            p50_ms=load.percentile(result["latencies"], 50) * 1000,
            p99_ms=load.percentile(result["latencies"], 99) * 1000,
        )
