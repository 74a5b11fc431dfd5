"""Single-use artefacts stay single-use when many clients present them at once to many processes.

The same race against a deliberately naive server is lost, so that a pass means something. `race.py` beside this file is
the racing itself and runs by hand at any size.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pytest

from tests.interop.registry import create_account, create_client
from tests.races.race import Answer, Minter, Target, post, post_together, race
from tests.support.servers import Server, free_port, prepare, running

pytestmark = [pytest.mark.race, pytest.mark.timeout(400)]

Told = TypeVar("Told")

WORKERS = 4
CLIENTS = 20
ARTEFACTS = 100


def run(work: Coroutine[Any, Any, Told]) -> Told:
    """Runs a coroutine on an event loop of its own, also where the browser's driver keeps one running."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, work).result()


@contextmanager
def naively_running(server: Server) -> Iterator[Server]:
    """Runs the naive flavour in its own process group until the context ends."""
    with server.log.open("ab") as log:
        server.process = subprocess.Popen(
            [sys.executable, "-m", "tests.races.naive_server", "serve", "--workers", str(WORKERS)],
            cwd=server.directory,
            env=server.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        server.wait_until_healthy()
        yield server
    finally:
        for ending in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(server.process.pid, ending)
                server.process.wait(10)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """An installation with its keyring and tables that does not run yet, on each kind of database."""
    database_url = request.getfixturevalue("postgres").create_database() if request.param == "postgres" else None
    prepared = prepare(tmp_path_factory.mktemp("race"), port=free_port(), database_url=database_url)
    prepared.run("keyring", "create")
    prepared.run("db", "upgrade")
    return prepared


@pytest.fixture(scope="module")
def racer(server: Server) -> Target:
    """A confidential client, somebody who can sign in, and nothing to ask on the way."""
    client = create_client(server, "web", "--first-party", "--refresh-token-policy", "always")
    account = create_account(server)
    return Target(
        issuer=server.issuer,
        servers=(f"http://127.0.0.1:{server.port}",),
        client_id=client.client_id,
        client_secret=client.client_secret,
        redirect_uri=client.redirect_uri,
        username=account.email,
        password=account.password,
    )


@pytest.fixture
def target(server: Server, racer: Target) -> Iterator[Target]:
    """`gatepost serve` with four worker processes."""
    with running(server, "serve", "--workers", str(WORKERS)):
        yield racer


@pytest.fixture
def naive_target(server: Server, racer: Target) -> Iterator[Target]:
    """The same, with check-then-act in place of the conditional UPDATE."""
    with naively_running(server):
        yield racer


@pytest.mark.spec("RFC 6749 §4.1.2")
def test_code_has_exactly_one_success_when_twenty_redeem_it_at_once(target: Target) -> None:
    result = run(race(target, "codes", ARTEFACTS, CLIENTS))
    assert result.faults == []
    assert result.exactly_one == ARTEFACTS
    assert result.answers == {"200": ARTEFACTS, "400 invalid_grant": ARTEFACTS * (CLIENTS - 1)}


@pytest.mark.spec("RFC 9700 §4.14.2")
def test_refresh_token_has_exactly_one_successor_when_twenty_use_it_at_once(target: Target) -> None:
    result = run(race(target, "refresh", ARTEFACTS, CLIENTS))
    assert result.faults == []
    assert result.exactly_one == ARTEFACTS
    assert result.answers == {"200": ARTEFACTS * CLIENTS}


def test_race_is_lost_when_the_server_checks_before_it_acts(naive_target: Target) -> None:
    codes = run(race(naive_target, "codes", ARTEFACTS, CLIENTS))
    assert codes.more_than_one > 0
    assert codes.faults
    refresh = run(race(naive_target, "refresh", ARTEFACTS, CLIENTS))
    assert refresh.more_than_one > 0
    assert refresh.faults


@pytest.mark.spec("RFC 7009 §2.2")
def test_revocation_is_idempotent_when_twenty_revoke_at_once(target: Target) -> None:
    async def revoke_together() -> list[Answer]:
        answers: list[Answer] = []
        minter = Minter(target)
        for _ in range(5):
            given = (await post(target, "/oauth/token", minter.code())).members
            for kind in ("access_token", "refresh_token"):
                form = {"token": str(given[kind])}
                answers += await post_together(target, form, CLIENTS, path="/oauth/revoke", pause=0.02, timeout=30)
            answers.append(await post(target, "/oauth/introspect", {"token": str(given["access_token"])}))
            assert answers[-1].members == {"active": False}
        return answers

    assert {answer.status for answer in run(revoke_together())} == {200}


@pytest.mark.spec("RFC 6749 §10.4")
def test_nothing_survives_when_a_refresh_races_a_revocation(target: Target) -> None:
    async def race_revocation() -> list[str]:
        survivors = []
        minter = Minter(target)
        for number in range(20):
            form = await minter.refresh_token()
            refreshing = asyncio.create_task(post_together(target, form, 4, pause=0.01, timeout=30))
            # From well before the refresh to well after it.
            await asyncio.sleep(number * 0.003)
            revoked = await post(target, "/oauth/revoke", {"token": form["refresh_token"]})
            answers = await refreshing
            assert revoked.status == 200
            assert {answer.outcome for answer in answers} <= {(200, ""), (400, "invalid_grant")}
            for answer in answers:
                if answer.status == 200:
                    token = {"token": str(answer.members["access_token"])}
                    again = {"grant_type": "refresh_token", "refresh_token": str(answer.members["refresh_token"])}
                    active = (await post(target, "/oauth/introspect", token)).members["active"]
                    refreshed = (await post(target, "/oauth/token", again)).status
                    if active or refreshed == 200:
                        survivors.append(f"{number}: active {active}, refresh {refreshed}")
        return survivors

    assert run(race_revocation()) == []
