"""A real Redis for the tests that need one: on a free port of the loopback interface, without persistence."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.components import missing
from tests.support.ports import free_port
from tests.support.servers import ServerFailed

START_SECONDS = 30.0


@dataclass
class RedisServer:
    """A running Redis, which a test may stop, freeze and start again."""

    program: str
    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address in the form that Gatepost's settings take."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it, empty, and waits until it listens. Raises ServerFailed when it does not."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen([self.program, *options], cwd=self.directory, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise ServerFailed(f"Redis did not start\n{(self.directory / 'redis.log').read_text()}")

    def stop(self) -> None:
        """Ends it at once: what it counted is gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Lets it accept connections and answer nothing."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def redis_server(directory: Path) -> Iterator[RedisServer]:
    """A Redis that runs until the context ends; without the program the test is skipped."""
    program = shutil.which("redis-server")
    if program is None:
        missing("redis-server is not installed")
    server = RedisServer(program, directory, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()
