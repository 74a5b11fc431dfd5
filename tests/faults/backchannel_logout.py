"""Signs people out whose apps are alive, ill, stubborn or dead, and kills the senders; counts what each app was told.

    python -m tests.faults.backchannel_logout --people 1000

Of twenty apps, four hang, two answer 500 for ever, two 400, two refuse connections, two are ill at first, and eight are
well. Half-way the workers are killed (SIGKILL), at the end the whole server, which is then started again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from server.config import Settings
from server.domain import browsers, clients, sessions, tables
from server.domain.actor import OPERATOR
from server.domain.client_registration import ClientMetadata, create_client
from server.domain.grants import Granted, SignInFacts, create_grant
from server.domain.logout import sid_of
from server.domain.unit_of_work import UnitOfWork, open_runtime
from server.domain.users import create_user
from server.infra import jose
from server.infra.database import open_session
from tests.properties.results import keep
from tests.support.ports import free_port
from tests.support.servers import Server, postgres_cluster, prepare, running

KINDS = ("well",) * 8 + ("ill",) * 2 + ("stubborn",) * 2 + ("broken",) * 2 + ("closed",) * 2 + ("hanging",) * 4
REACHABLE = frozenset({"well", "ill"})
WITHIN_SECONDS = 60.0
WORKERS = 2
_COOKIE = "gatepost"
_SIGNED_OUT_AT_ONCE = 8
PROMISE = (
    "People sign out of sessions that twenty apps know. Four apps hang, two answer 500 for ever, two answer 400, two "
    "refuse connections, two are ill for their first attempts; the workers and then the whole server are killed with "
    "SIGKILL meanwhile. Every app that can be reached is told of every sign-out within 60 s, none is told of another, "
    "a token that comes again has the same jti, and nobody waits for the apps while signing out."
)


@dataclass
class Apps:
    """The receivers, all in one thread: each request's path is `/KIND/CLIENT`."""

    port: int = 0
    #: When each (client, sid) was told for the first time, and by which tokens.
    told_at: dict[tuple[str, str], float] = field(default_factory=dict)
    tokens: defaultdict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def answer_to(self, kind: str, client_id: str, body: bytes) -> int | None:
        """The status; None is no answer."""
        token = body.removeprefix(b"logout_token=").decode()
        claims = jose.peek_claims(token)
        assert claims["aud"] == client_id, "a token for another app"
        key = (client_id, claims["sid"])
        self.tokens[key].append(token)
        if kind == "ill" and len(self.tokens[key]) <= 2:
            return 503
        if kind in REACHABLE:
            self.told_at.setdefault(key, time.monotonic())
        return {"stubborn": 400, "broken": 500, "hanging": None}.get(kind, 200)

    async def serve(self, started: threading.Event) -> None:
        """Answers until `stop`."""
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=1000) as server:
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            await self._over.wait()

    def stop(self) -> None:
        """Ends it, from another thread."""
        self._loop.call_soon_threadsafe(self._over.set)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
            kind, client_id = head.split(b" ")[1].decode().strip("/").split("/")
            status = self.answer_to(kind, client_id, await reader.readexactly(length))
            if status is None:
                # Until the other side has had enough.
                await reader.read()
            else:
                writer.write(b"HTTP/1.1 %d Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The sender was killed, or all is over.
            pass
        finally:
            writer.close()


@contextmanager
def running_apps() -> Iterator[Apps]:
    """The receivers, until the context ends."""
    apps, started = Apps(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(apps.serve(started)), daemon=True)
    thread.start()
    assert started.wait(60)
    yield apps
    apps.stop()
    thread.join(10)


@dataclass(frozen=True)
class Visitor:
    """Somebody signed in on a browser of their own."""

    secret: str
    session_id: str


def settle_in(server: Server, port: int, people: int) -> list[Visitor]:
    """Clients for all apps, and people who are signed in at each."""
    assert tables.METADATA.tables
    settings = Settings(
        _env_file=None,
        issuer=server.issuer,
        database_url=server.environment["GATEPOST_DATABASE_URL"],
        keys_dir=Path(server.environment["GATEPOST_KEYS_DIR"]),
        outbound_allow_loopback=True,
    )
    runtime, closed = open_runtime(settings), free_port()
    with open_session(settings) as db:
        work = UnitOfWork.begin(runtime, db, OPERATOR)
        for number, kind in enumerate(KINDS):
            name = f"{kind}-{number}"
            uri = f"http://127.0.0.1:{closed if kind == 'closed' else port}/{kind}/{name}"
            metadata = ClientMetadata(
                client_type="web", client_name=name, client_id=name, redirect_uris=("https://app.example/cb",)
            )
            create_client(work, metadata)
            clients.get_client(work, name).backchannel_logout_uri = uri
        visitors = [_sign_in(work, number) for number in range(people)]
    runtime.autocommit.dispose()
    return visitors


def _sign_in(work: UnitOfWork, number: int) -> Visitor:
    user = create_user(work, f"person{number}@example.com")
    browser, _ = browsers.create_browser(work)
    session, secret = sessions.start_session(work, browser, user, amr=["pwd"], acr="1")
    facts = SignInFacts(session.id, session.auth_time, session.amr, session.acr, session.ends_at)
    for position, kind in enumerate(KINDS):
        create_grant(work, f"{kind}-{position}", user.id, Granted(frozenset({"openid"})), facts)
    return Visitor(secret, session.id)


@dataclass
class Report:
    """What became of it."""

    people: int
    #: When each session's sign-out was answered, and how long the answer took.
    signed_out_at: dict[str, float]
    seconds: list[float]
    apps: Apps

    @property
    def expected(self) -> set[tuple[str, str]]:
        """What the apps that can be reached had to be told."""
        return {key for key in self._ended_at if key[0].partition("-")[0] in REACHABLE}

    @property
    def _ended_at(self) -> dict[tuple[str, str], float]:
        """When what each app knows as this `sid` ended."""
        names = [f"{kind}-{number}" for number, kind in enumerate(KINDS)]
        ended = self.signed_out_at.items()
        return {(name, sid_of(session_id, name)): at for name in names for session_id, at in ended}

    @property
    def missing(self) -> set[tuple[str, str]]:
        """What they were not told."""
        return self.expected - self.apps.told_at.keys()

    @property
    def phantoms(self) -> set[tuple[str, str]]:
        """What an app was told though it had not happened."""
        return self.apps.tokens.keys() - self._ended_at.keys()

    @property
    def delays(self) -> list[float]:
        """Seconds from each answer to each app that can be reached, sorted; negative where the app was quicker."""
        return sorted(self.delays_of("well") + self.delays_of("ill"))

    def delays_of(self, kind: str) -> list[float]:
        """The same for apps of one kind."""
        at = self._ended_at
        told = self.apps.told_at.items()
        return [when - at[key] for key, when in told if key in at and key[0].startswith(kind)]

    @property
    def repeated(self) -> int:
        """How many tokens came again to an app that was well: the killed senders' share."""
        well = [tokens for (client_id, _), tokens in self.apps.tokens.items() if client_id.startswith("well")]
        return sum(len(tokens) - 1 for tokens in well)

    @property
    def has_one_jti_each(self) -> bool:
        """Whether whatever came again came with the same id."""
        return all(
            len({jose.peek_claims(token)["jti"] for token in tokens}) == 1 for tokens in self.apps.tokens.values()
        )

    def attempts(self, kind: str) -> Counter[int]:
        """How often each message to such apps was sent."""
        return Counter(len(tokens) for (name, _), tokens in self.apps.tokens.items() if name.startswith(kind))

    def figures(self) -> dict[str, Any]:
        """For the page."""
        delays = self.delays
        return {
            "people signed out": self.people,
            "messages to apps that can be reached": len(self.expected),
            "not told": len(self.missing),
            "told of what had not happened": len(self.phantoms),
            "slowest in seconds": round(delays[-1], 1),
            "slowest in seconds of the apps that were well": round(max(self.delays_of("well")), 1),
            "median in seconds": round(delays[len(delays) // 2], 2),
            "sent twice by killed senders": self.repeated,
            "slowest sign-out in seconds": round(max(self.seconds), 2),
        }


def sign_out(server: Server, visitor: Visitor) -> tuple[float, float]:
    """As a browser does it; again while the server is being killed. Returns when it was answered, and the seconds."""
    deadline = time.monotonic() + 60
    while True:
        began = time.monotonic()
        try:
            if _try_to_sign_out(server, visitor):
                return time.monotonic(), time.monotonic() - began
        except requests.RequestException:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _try_to_sign_out(server: Server, visitor: Visitor) -> bool:
    browser = requests.Session()
    browser.headers["Cookie"] = f"{_COOKIE}={visitor.secret}"
    page = browser.get(server.url("/logout"), allow_redirects=False, timeout=10)
    if page.status_code == 303:
        # An earlier try was answered by a worker that died before its answer left.
        return True
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    if token is None:
        return False
    form = {"csrf_token": token[1], "decision": "sign_out"}
    return browser.post(server.url("/logout"), data=form, allow_redirects=False, timeout=10).status_code == 303


def kill_workers(server: Server) -> int:
    """SIGKILL for each worker; how many there were."""
    found = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=False)
    workers = [int(line) for line in found.stdout.split()]
    for worker in workers:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    return len(workers)


def sign_all_out(folder: Path, people: int, database_url: str | None = None) -> Report:
    """The whole story."""
    server = prepare(
        folder, port=free_port(), database_url=database_url, settings={"GATEPOST_OUTBOUND_ALLOW_LOOPBACK": "true"}
    )
    server.run("keyring", "create")
    server.run("db", "upgrade")
    signed_out_at: dict[str, float] = {}
    seconds: list[float] = []
    command = ("serve", "--workers", str(WORKERS))

    def leave(visitor: Visitor) -> None:
        at, took = sign_out(server, visitor)
        signed_out_at[visitor.session_id] = at
        seconds.append(took)

    with running_apps() as apps, ThreadPoolExecutor(_SIGNED_OUT_AT_ONCE) as pool:
        # One person stays, and nobody hears of it.
        *leaving, _ = settle_in(server, apps.port, people + 1)
        half = len(leaving) // 2
        with running(server, *command):
            list(pool.map(leave, leaving[:half]))
            assert kill_workers(server) >= WORKERS
            list(pool.map(leave, leaving[half:]))
            os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait()
        with running(server, *command):
            report = Report(people, signed_out_at, seconds, apps)
            _wait_for_news(report)
    return report


def _wait_for_news(report: Report) -> None:
    """Until all are told that can be; no longer than is promised."""
    deadline = max(report.signed_out_at.values()) + WITHIN_SECONDS
    while report.missing and time.monotonic() < deadline:
        time.sleep(0.2)


def main(arguments: Sequence[str] | None = None) -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--sqlite", action="store_true", help="on SQLite, not on a PostgreSQL of its own")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        if chosen.sqlite:
            report = sign_all_out(Path(folder), chosen.people)
        else:
            with postgres_cluster() as cluster:
                report = sign_all_out(Path(folder), chosen.people, cluster.create_database())
    command = f"python -m tests.faults.backchannel_logout --people {chosen.people}"
    keep("backchannel-logout", PROMISE, report.figures(), command)


if __name__ == "__main__":
    main()
