"""Apps that the tests run as processes of their own: each listens on the loopback interface until it is ended."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

START_SECONDS = 60.0
STOP_SECONDS = 10.0


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the app ended with {process.returncode}\n{log.read_text(errors='replace')}"
        with suppress(requests.RequestException):
            requests.get(address, timeout=2, allow_redirects=False)
            return
        time.sleep(0.05)
    raise AssertionError(f"the app did not answer at {address}\n{log.read_text(errors='replace')}")


@contextmanager
def running_app(
    command: Sequence[str],
    address: str,
    directory: Path,
    *,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Path]:
    """Runs a command in its own process group until the context ends; yields its log once `address` answers."""
    log = directory / "app.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command),
            cwd=directory,
            env=dict(environment) if environment is not None else None,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(stdin.encode())
        process.stdin.close()
    try:
        _wait_until_it_answers(process, address, log)
        yield log
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
