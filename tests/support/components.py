"""What a test group needs from the machine, and what happens when it is not there.

A missing component skips the test and says why, so that a plain checkout stays green on any machine. CI sets
`GATEPOST_TEST_REQUIRE_ALL=1`, and the same test fails: a group that silently stopped running is not a passing group.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def all_required() -> bool:
    """Whether a missing component is a failure."""
    return os.environ.get("GATEPOST_TEST_REQUIRE_ALL") == "1"


def missing(reason: str) -> NoReturn:
    """End the running test or fixture: skipped on a developer's machine, failed in CI."""
    if all_required():
        pytest.fail(f"{reason} (GATEPOST_TEST_REQUIRE_ALL=1)", pytrace=False)
    pytest.skip(reason)


def chromium_path() -> Path:
    """The Chromium to drive: `GATEPOST_TEST_CHROMIUM`, or the first one installed."""
    named = os.environ.get("GATEPOST_TEST_CHROMIUM")
    candidates = [named] if named else ["/usr/bin/chromium", shutil.which("chromium"), shutil.which("google-chrome")]
    for candidate in candidates:
        if candidate and Path(candidate).exists():
            return Path(candidate)
    missing("Chromium is not installed; install it or name it in GATEPOST_TEST_CHROMIUM")


def node_path() -> Path:
    """The Node.js that runs third-party JavaScript clients."""
    found = shutil.which("node")
    if not found:
        missing("Node.js is not installed")
    return Path(found)


def postgres_tool(name: str) -> Path:
    """The newest installed PostgreSQL server tool of that name, `initdb` or `pg_ctl`.

    Debian keeps them out of `PATH`, one folder per major version.
    """
    versions = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]), reverse=True
    )
    if versions:
        return versions[0]
    found = shutil.which(name)
    if not found:
        missing(f"PostgreSQL's {name} is not installed")
    return Path(found)
