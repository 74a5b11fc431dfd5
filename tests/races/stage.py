"""What a race runs on: replicas of one issuer on ports of their own, one database, one client, one person."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.interop.person import Person, challenge_of
from tests.interop.registry import Account, RegisteredClient, create_account, create_client
from tests.races.connection import Answer, Connection, basic, post_request, request
from tests.support.ports import free_port
from tests.support.servers import Server, postgres_cluster, prepare, running

DatabaseKind = Literal["postgres", "sqlite"]
GATEPOST = (sys.executable, "-m", "server")
NAIVE = (sys.executable, "-m", "tests.races.naive_server")
SCOPE = "openid profile email offline_access"


@dataclass(frozen=True)
class Stage:
    """A confidential first-party client whose refresh tokens rotate, a person, and the replicas that serve them."""

    servers: tuple[Server, ...]
    client: RegisteredClient
    account: Account

    @property
    def issuer(self) -> str:
        """The one issuer of all replicas."""
        return self.servers[0].issuer

    @property
    def ports(self) -> tuple[int, ...]:
        """The replicas' ports."""
        return tuple(server.port for server in self.servers)

    @property
    def database_url(self) -> str:
        """The address of the database that all replicas share."""
        return self.servers[0].environment["GATEPOST_DATABASE_URL"]

    @property
    def authorization(self) -> str:
        """The client's credentials."""
        return basic(self.client.client_id, self.client.client_secret)

    def post(self, path: str, form: Mapping[str, str]) -> bytes:
        """The bytes of a form post by the client."""
        return post_request(self.issuer + path, form, self.authorization)

    def ask(self, path: str, form: Mapping[str, str], replica: int = 0) -> Answer:
        """Posts one form as the client, alone, on a connection of its own."""
        connection = Connection(self.ports[replica % len(self.ports)])
        try:
            return connection.exchange(self.post(path, form))
        finally:
            connection.close()

    def refresh(self, token: str, replica: int = 0) -> Answer:
        """Uses a refresh token."""
        return self.ask("/oauth/token", refresh_form(token), replica)

    def is_active(self, token: object, replica: int = 0) -> bool:
        """Whether introspection calls the token active."""
        return self.ask("/oauth/introspect", {"token": str(token)}, replica).members.get("active") is True


def refresh_form(token: object) -> dict[str, str]:
    """The form that uses a refresh token."""
    return {"grant_type": "refresh_token", "refresh_token": str(token)}


class Minter:
    """Signs the person in once; then every authorization request is answered with a code straight away.

    Not for two threads at once: each takes a copy of its own.
    """

    def __init__(self, stage: Stage, cookie: str | None = None) -> None:
        self._stage = stage
        self._connections = [Connection(port) for port in stage.ports]
        self._count = 0
        self.cookie = cookie or self._sign_in()

    def copy(self) -> Minter:
        """The same signed-in browser, on connections of its own."""
        return Minter(self._stage, self.cookie)

    def _url(self, verifier: str) -> str:
        query = {
            "response_type": "code",
            "client_id": self._stage.client.client_id,
            "redirect_uri": self._stage.client.redirect_uri,
            "scope": SCOPE,
            "state": secrets.token_urlsafe(8),
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        return f"{self._stage.issuer}/oauth/authorize?{urlencode(query)}"

    def _sign_in(self) -> str:
        person = Person(self._stage.account.email, self._stage.account.password)
        person.walk(self._url(secrets.token_urlsafe(48)), self._stage.client.redirect_uri)
        person.session.close()
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in person.session.cookies)

    def code(self) -> dict[str, str]:
        """The form that redeems a fresh authorization code. Raises RuntimeError when no replica gives one."""
        verifier = secrets.token_urlsafe(48)
        message = request("GET", self._url(verifier), {"Cookie": self.cookie})
        answer = Answer(0, b"")
        for attempt in range(60):
            self._count += 1
            answer = self._connections[self._count % len(self._connections)].exchange(message)
            code = dict(parse_qsl(urlsplit(answer.header("location")).query)).get("code")
            if code:
                return {
                    "grant_type": "authorization_code",
                    "code": code,
                    "redirect_uri": self._stage.client.redirect_uri,
                    "code_verifier": verifier,
                }
            if answer.status not in {0, 503}:
                break
            time.sleep(0.05 * min(attempt, 10))
        raise RuntimeError(f"no code came back, but {answer.status} {answer.header('location')} {answer.body[:300]!r}")

    def tokens(self) -> dict[str, str]:
        """A fresh token response."""
        self._count += 1
        connection = self._connections[self._count % len(self._connections)]
        answer = connection.exchange(self._stage.post("/oauth/token", self.code()))
        if answer.status != 200:
            raise RuntimeError(f"no tokens came back, but {answer.status} {answer.body[:300]!r}")
        return {name: str(value) for name, value in answer.members.items()}


@contextmanager
def database(kind: DatabaseKind, directory: Path, cluster_url: str | None = None) -> Iterator[str]:
    """The address of an empty database: in a PostgreSQL of its own, in the one at `cluster_url`, or a file."""
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'gatepost.sqlite'}"
    elif cluster_url is not None:
        yield cluster_url
    else:
        with postgres_cluster() as cluster:
            yield cluster.create_database()


def replicas_of(first: Server, count: int) -> tuple[Server, ...]:
    """`first` and further servers of the same issuer, keyring and database, each on a port of its own."""
    others = []
    for number in range(1, count):
        port = free_port()
        environment = first.environment | {"GATEPOST_BIND": f"127.0.0.1:{port}"}
        log = first.directory / f"server{number}.log"
        others.append(
            Server(first.directory, environment, program=first.program, issuer=first.issuer, port=port, log=log)
        )
    return (first, *others)


@contextmanager
def prepared(
    database_url: str, *, replicas: int = 3, settings: Mapping[str, str] | None = None, directory: Path | None = None
) -> Iterator[Stage]:
    """A stage whose servers do not run yet; its folder ends with the context unless it was given."""
    with ExitStack() as stack:
        folder = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatepost-race-")))
        first = prepare(folder, port=free_port(), database_url=database_url, settings=settings)
        first.run("keyring", "create")
        first.run("db", "upgrade")
        client = create_client(first, "web", "--first-party", "--refresh-token-policy", "always")
        account = create_account(first)
        yield Stage(replicas_of(first, replicas), client, account)


@contextmanager
def serving(stage: Stage, *, workers: int = 1, program: tuple[str, ...] = GATEPOST) -> Iterator[Stage]:
    """The stage with its servers running until the context ends."""
    with ExitStack() as stack:
        servers = tuple(replace(server, program=program) for server in stage.servers)
        for server in servers:
            stack.enter_context(running(server, "serve", "--workers", str(workers)))
        yield replace(stage, servers=servers)


@contextmanager
def stage(
    kind: DatabaseKind = "postgres",
    *,
    replicas: int = 3,
    workers: int = 1,
    program: tuple[str, ...] = GATEPOST,
    settings: Mapping[str, str] | None = None,
    database_url: str | None = None,
) -> Iterator[Stage]:
    """Replicas that serve, from nothing: a database, a keyring, a client, a person."""
    with tempfile.TemporaryDirectory(prefix="gatepost-race-") as folder, ExitStack() as stack:
        url = stack.enter_context(database(kind, Path(folder), database_url))
        ready = stack.enter_context(
            prepared(url, replicas=replicas, settings=settings, directory=Path(folder) / "installation")
        )
        yield stack.enter_context(serving(ready, workers=workers, program=program))


def worker_pids(server: Server) -> list[int]:
    """The server's worker processes."""
    parent = server.process.pid
    with suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return []


def kill(pid: int) -> bool:
    """SIGKILL; False when there is nobody to kill."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def launch(server: Server, workers: int) -> None:
    """Starts a server that ended once more; the context that ran it ends this one too."""
    with server.log.open("ab") as log:
        server.process = subprocess.Popen(
            [*server.program, "serve", "--workers", str(workers)],
            cwd=server.directory,
            env=server.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server.wait_until_healthy()
