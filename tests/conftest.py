"""Fixtures every group of tests may use.

A test without a group's marker may not open a network connection: a plain `pytest` needs nothing but Python.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.components import CHROMIUM_FLAGS, chromium_path
from tests.support.servers import RUNNING, PostgresCluster, Server, postgres_cluster, start_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

GROUPS = frozenset({"postgres", "browser", "interop", "race", "slow", "wheel"})


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """All cores for a plain `pytest`; who names files, tests or groups has them run in this process, one by one."""
    names_no_file = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    names_no_group = config.option.markexpr in config.getini("addopts")
    return os.cpu_count() or 1 if names_no_file and names_no_group and not config.option.keyword else 0


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(mark.name in GROUPS for mark in request.node.iter_markers()):
        return

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a test without a group's marker connected to {address!r}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for server in RUNNING:
            report.sections.append((f"log of the server at {server.issuer}", server.log_tail()))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """A PostgreSQL of this test session's own.

    It does not wait for its disk: a busy machine's may take longer for one commit than a statement has time. Tests that
    are about durability start their own.
    """
    with postgres_cluster(is_durable=False) as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres: PostgresCluster) -> str:
    """The address of a new, empty PostgreSQL database."""
    return postgres.create_database()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database, once of each kind."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres").create_database()
    return f"sqlite:///{tmp_path / 'gatepost.sqlite'}"


class ServerStarter:
    """Starts servers that end with the test."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.stack = stack
        self.count = 0

    def __call__(self, command: str = "serve", **options: object) -> Server:
        self.count += 1
        directory = self.directory / f"server{self.count}"
        return self.stack.enter_context(start_server(directory, command, **options))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[ServerStarter]:
    """`start("dev")` or `start("serve", issuer_path="/tenant", database_url=…)`: a live server until the test ends."""
    with ExitStack() as stack:
        yield ServerStarter(tmp_path, stack)


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    """The installed Chromium, driven by Playwright."""
    executable = chromium_path()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, headless=True, args=list(CHROMIUM_FLAGS), timeout=90_000
        )
        yield browser
        browser.close()


@pytest.fixture
def browser_context(chromium: "Browser") -> Iterator["BrowserContext"]:
    """A browser profile with nothing in it, for one test."""
    context = chromium.new_context()
    context.set_default_timeout(45_000)
    yield context
    context.close()
