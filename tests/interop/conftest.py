"""Live servers for third-party clients: with the issuer at the root of its origin, with a path, and on PostgreSQL."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.interop.registry import Account, RegisteredClient, create_account, create_client
from tests.support.components import missing, node_path
from tests.support.servers import Server, start_server

NODE_PROJECT = Path(__file__).parent / "node"


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(("", "sqlite"), id="root"),
        pytest.param(("/auth/v1", "sqlite"), id="path"),
        pytest.param(("/auth/v1", "postgres"), id="path-postgres", marks=pytest.mark.postgres),
    ],
)
def gatepost(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`gatepost serve` with two workers; every test makes clients and people of its own."""
    issuer_path, kind = request.param
    database_url = request.getfixturevalue("postgres").create_database() if kind == "postgres" else None
    directory = tmp_path_factory.mktemp("interop")
    with start_server(directory, "serve", issuer_path=issuer_path, database_url=database_url, workers=2) as server:
        yield server


@pytest.fixture(scope="session")
def metadata(gatepost: Server) -> dict[str, Any]:
    """What the server says of itself (OpenID Connect Discovery §4)."""
    answer = requests.get(gatepost.url("/.well-known/openid-configuration"), timeout=10)
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    return document


@pytest.fixture(scope="session")
def account(gatepost: Server) -> Account:
    """Somebody who can sign in at the server."""
    return create_account(gatepost)


@pytest.fixture(scope="session")
def web_client(gatepost: Server) -> RegisteredClient:
    """A confidential client with client_secret_basic."""
    return create_client(gatepost)


@pytest.fixture(scope="session")
def node_project() -> Path:
    """The Node project with its packages installed exactly as locked."""
    node_path()
    installed = NODE_PROJECT / "node_modules" / ".package-lock.json"
    lock = NODE_PROJECT / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        npm = shutil.which("npm")
        if npm is None:
            missing("npm is not installed, and the packages of tests/interop/node are missing")
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        finished = subprocess.run(command, cwd=NODE_PROJECT, capture_output=True, text=True, timeout=100, check=False)
        if finished.returncode != 0:
            missing(f"npm ci failed: {finished.stderr[-2000:]}")
    return NODE_PROJECT


@pytest.fixture(scope="session")
def run_node(node_project: Path) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    """Runs a script of the Node project with a JSON object on standard input; returns the JSON object it prints."""

    def run(script: str, settings: dict[str, Any]) -> dict[str, Any]:
        finished = subprocess.run(
            [str(node_path()), script],
            cwd=node_project,
            input=json.dumps(settings),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert finished.returncode == 0, f"{script} failed\n{finished.stdout}{finished.stderr}"
        report: dict[str, Any] = json.loads(finished.stdout)
        return report

    return run
