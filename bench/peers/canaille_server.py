"""Canaille on granian and PostgreSQL, in a virtual environment of its own.

Its access tokens for people are JWTs and rows, those for machines opaque rows; client secrets are kept in the clear, as
it does.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from joserfc.jwk import RSAKey

from bench import http, load
from bench.floors.subjects import process, wait_until_open
from bench.http import Answer, Source
from bench.load import Limits
from bench.peers.environment import install, pins
from bench.subject import (
    CLIENT_CREDENTIALS,
    CODE_EXCHANGE,
    DISCOVERY,
    INTROSPECTION,
    JWKS,
    REFRESH,
    REFRESH_WITH_ID_TOKEN,
    USERINFO,
    HttpSubject,
    Work,
    each_once,
    prepared,
)
from tests.support.servers import free_port

_REQUIREMENTS = Path(__file__).parent / "canaille" / "requirements.txt"
_SECRET = "a-client-secret-that-is-long-enough-for-anything"
_CLIENT, _RESOURCE_SERVER = http.basic("bench", _SECRET), http.basic("resource-server", _SECRET)
REDIRECT_URI = "https://bench.example/callback"
PEOPLE = 256


class Canaille(HttpSubject):
    """A running peer."""

    operations: tuple[str, ...] = (
        CLIENT_CREDENTIALS,
        CODE_EXCHANGE,
        REFRESH,
        REFRESH_WITH_ID_TOKEN,
        INTROSPECTION,
        USERINFO,
        JWKS,
        DISCOVERY,
    )
    differs: Mapping[str, str] = {CLIENT_CREDENTIALS: "its token is an opaque row: nothing is signed"}

    def about(self) -> str:
        """One line for the report."""
        found = pins(_REQUIREMENTS)
        return (
            f"Canaille {found['Canaille']}, Authlib {found['Authlib']} on granian {found['granian']}, PostgreSQL; "
            f"{PEOPLE} people in turn, as it refuses a second token of one person within a second"
        )

    def prepare(self, operation: str, limits: Limits) -> Work:
        """Mints through the peer's own models what the operation needs."""
        if operation == CLIENT_CREDENTIALS:
            form = {"grant_type": "client_credentials", "scope": "profile"}
            return Work(http.the_same(http.post(self.port, "/oauth/token", form, _CLIENT)))
        if operation == CODE_EXCHANGE:
            codes = self._seed("codes", min(PEOPLE, prepared(CODE_EXCHANGE, limits)))
            return each_once([self._redemption(code) for code in codes])
        if operation in {REFRESH, REFRESH_WITH_ID_TOKEN}:
            kind = "refresh_tokens" if operation == REFRESH_WITH_ID_TOKEN else "plain_refresh_tokens"
            return Work(_in_turn(deque(map(self._refresh, self._seed(kind, PEOPLE))), self._follow))
        if operation in {INTROSPECTION, USERINFO}:
            token = self._access_token()
            if operation == USERINFO:
                return Work(http.the_same(http.get(self.port, "/oauth/userinfo", http.bearer(token))))
            return Work(http.the_same(http.post(self.port, "/oauth/introspect", {"token": token}, _RESOURCE_SERVER)))
        path = {JWKS: "/oauth/jwks.json", DISCOVERY: "/.well-known/openid-configuration"}[operation]
        return Work(http.the_same(http.get(self.port, path)))

    def _seed(self, kind: str, count: int) -> list[str]:
        return list(self.collect([http.get(self.port, f"/seed/{kind}?count={count}")])[0].json()["made"])

    def _redemption(self, code: str) -> bytes:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
        return http.post(self.port, "/oauth/token", {**form, "code_verifier": http.VERIFIER}, _CLIENT)

    def _access_token(self) -> str:
        return str(self.collect([self._redemption(self._seed("codes", 1)[0])])[0].json()["access_token"])

    def _refresh(self, token: str) -> bytes:
        return http.post(self.port, "/oauth/token", {"grant_type": "refresh_token", "refresh_token": token}, _CLIENT)

    def _follow(self, answer: Answer) -> bytes:
        return self._refresh(answer.json()["refresh_token"])


def _in_turn(waiting: deque[bytes], follow: Callable[[Answer], bytes]) -> Source:
    """Chains that wait in a line: what follows an answer is sent after all others had their turn."""

    def source(_connection: int, answer: Answer | None) -> bytes | None:
        if answer is not None:
            waiting.append(follow(answer))
        return waiting.popleft() if waiting else None

    return source


@contextmanager
def running(
    name: str, database_url: str | None, workers: int, database_root: int | None, log: Path
) -> Iterator[Canaille]:
    """The peer, until the context ends.

    Raises:
        LoadFailed: when its packages are not to be had.
    """
    python, port = install("canaille", _REQUIREMENTS, log), free_port()
    environment = {
        "DATABASE_URL": (database_url or "").replace("postgresql:", "postgresql+psycopg2:"),
        "PORT": str(port),
        "SECRET_KEY": os.urandom(32).hex(),
        "RSA_JWK": json.dumps(RSAKey.generate_key(2048, auto_kid=True).as_dict(private=True)),
        "CODE_CHALLENGE": http.CHALLENGE,
    }
    with process([python, "-m", "bench.peers.canaille.app"], log, environment=environment) as tables:
        if tables.wait(120):
            raise load.LoadFailed(f"its tables could not be made: {log.read_text(errors='replace')[-500:]}")
    command = [python, "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws", "--port", str(port)]
    command += ["--workers", str(workers), "--blocking-threads", "1", "--log-level", "error"]
    with process([*command, "bench.peers.canaille.app:application"], log, environment=environment) as server:
        wait_until_open(port, "/oauth/jwks.json", server, log)
        yield Canaille(name, port, server.pid, database_root)
