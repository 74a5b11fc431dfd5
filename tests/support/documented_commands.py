"""The commands that the project's pages show, and a way to run them as a reader would.

A fenced block marked `bash` or `sh` holds commands; one marked `console` holds commands after `$ ` and their output. A
page's commands run in order, in a fresh copy of the checkout. A block that cannot run there (it needs another machine,
say) stands after a line `<!-- not run: REASON -->`.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.components import REPOSITORY
from tests.support.ports import free_port
from tests.support.servers import clean_environment
from tests.support.source import tracked_files

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```\s*$", re.MULTILINE | re.DOTALL
)
NOT_RUN = re.compile(r"<!-- not run: \S.*? -->\s*\Z")
SERVER = re.compile(r"(?:-m server|\bgatepost) (?:dev|serve)\b(?!.*--help)|\bmake dev\b")
CURL = re.compile(r"(curl -.*)$", re.MULTILINE)
COMMAND_SECONDS = 300


def pages() -> list[Path]:
    """Every page whose commands are promises to a reader."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    """The commands of a page in order, continuation lines joined."""
    text = page.read_text("utf-8")
    return [
        command
        for block in FENCE.finditer(text)
        if block["language"] in {"bash", "console", "sh"} and not NOT_RUN.search(text[: block.start()])
        for command in _commands_of(block["language"], block["text"])
    ]


def _commands_of(language: str, block: str) -> Iterator[str]:
    joined = re.sub(r"\\\n\s*(?:> )?", " ", block)
    for line in map(str.strip, joined.splitlines()):
        if language == "console":
            if line.startswith("$ "):
                yield line[2:]
        elif line and not line.startswith("#"):
            yield line


@dataclass
class Reader:
    """Runs a page's commands in a copy of the checkout.

    What differs from a reader's terminal: the port is a free one, a server is left running in the background until the
    page ends or the next one starts, and the test suite is only collected, because CI runs that command as it is.
    """

    directory: Path
    port: int = field(default_factory=free_port)
    exports: list[str] = field(default_factory=list)
    server: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        """Copy the tracked files and put a `gatepost` on the path."""
        for path in tracked_files():
            target = self.directory / path.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        programs = self.directory / "var" / "bin"
        programs.mkdir(parents=True)
        gatepost = programs / "gatepost"
        gatepost.write_text(f'#!/bin/sh\nexec {sys.executable} -m server "$@"\n')
        gatepost.chmod(0o755)
        self.environment = clean_environment(
            {
                "PATH": f"{programs}:{os.environ['PATH']}",
                "PYTHONPATH": str(self.directory),
                "GATEPOST_BIND": f"127.0.0.1:{self.port}",
                "GATEPOST_ISSUER": f"http://localhost:{self.port}",
            }
        )
        self.log = self.directory / "var" / "server.log"

    def adapt(self, command: str) -> str:
        """The command with this reader's port, and without the test suite's own run."""
        command = re.sub(r"\b(localhost|127\.0\.0\.1):8000\b", rf"\1:{self.port}", command)
        command = re.sub(r"((?:-m server|\bgatepost) dev)\b(?!.*--port)", rf"\1 --port {self.port}", command)
        return re.sub(r"^.* -m pytest -q$", f"{sys.executable} -m pytest -q --collect-only", command)

    def run(self, command: str) -> str:
        """Run one command and return what it printed. Raises AssertionError when it fails."""
        if command.startswith("export "):
            self.exports.append(self.adapt(command))
            return ""
        script = "\n".join([*self.exports, self.adapt(command)])
        if SERVER.search(command):
            self.start(script)
            return self.log.read_text(errors="replace")
        finished = subprocess.run(
            ["bash", "-c", script],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert finished.returncode == 0, f"{script}\n{finished.stdout}{finished.stderr}"
        return finished.stdout

    def start(self, script: str) -> None:
        """Start a server and return when it answers. Raises AssertionError with its output when it does not."""
        self.stop()
        with self.log.open("wb") as log:
            self.server = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + COMMAND_SECONDS
        while time.monotonic() < deadline and self.server.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2):
                return
            time.sleep(0.1)
        raise AssertionError(f"{script}\n{self.log.read_text(errors='replace')}")

    def stop(self) -> None:
        """End the server, if one runs."""
        if self.server is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.server.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.server.wait(15)
            with suppress(ProcessLookupError):
                os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()
            self.server = None
