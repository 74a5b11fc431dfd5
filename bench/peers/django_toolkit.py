"""django-oauth-toolkit on granian, in a virtual environment of its own.

Its access tokens are opaque rows without a signature; client secrets are kept in the clear, as its default hash would
cost a hundred times the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench import http, load
from bench.floors.subjects import process, wait_until_open
from bench.http import Answer
from bench.load import Limits
from bench.peers.environment import install, pins
from bench.subject import (
    CLIENT_CREDENTIALS,
    CODE_EXCHANGE,
    DISCOVERY,
    INTROSPECTION,
    JWKS,
    ON_TOKENS,
    REFRESH,
    REFRESH_WITH_ID_TOKEN,
    USERINFO,
    HttpSubject,
    Work,
    each_once,
    prepared,
)
from tests.support.servers import free_port

_REQUIREMENTS = Path(__file__).parent / "django" / "requirements.txt"
_SECRET = "a-client-secret-that-is-long-enough-for-anything"
_CLIENT, _MACHINE = http.basic("bench", _SECRET), http.basic("bench-machine", _SECRET)
REDIRECT_URI = "https://bench.example/callback"


class DjangoToolkit(HttpSubject):
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
    differs: Mapping[str, str] = dict.fromkeys(
        ON_TOKENS, "its access tokens are opaque rows: there is no signature of them"
    )

    def about(self) -> str:
        """One line for the report."""
        found = pins(_REQUIREMENTS)
        packages = f"django-oauth-toolkit {found['django-oauth-toolkit']}, Django {found['Django']}"
        kept = "PostgreSQL" if self.database_root else "SQLite, synchronous=FULL"
        return f"{packages} on granian, {kept}; opaque access tokens (no signature), client secrets in the clear"

    def prepare(self, operation: str, limits: Limits) -> Work:
        """Mints through the peer's own models what the operation needs."""
        if operation == CLIENT_CREDENTIALS:
            form = {"grant_type": "client_credentials", "scope": "notes:read"}
            return Work(http.the_same(http.post(self.port, "/o/token/", form, _MACHINE)))
        if operation == CODE_EXCHANGE:
            codes = self._seed("codes", prepared(CODE_EXCHANGE, limits) // 2 + 1)
            return each_once([self._redemption(code) for code in codes])
        if operation in {REFRESH, REFRESH_WITH_ID_TOKEN}:
            kind = "refresh_tokens" if operation == REFRESH_WITH_ID_TOKEN else "plain_refresh_tokens"
            first = [self._refresh(token) for token in self._seed(kind, limits.connections)]
            return Work(http.each_after_the_other(first, self._follow))
        if operation in {INTROSPECTION, USERINFO}:
            token = self._seed("access_tokens", 1)[0]
            if operation == USERINFO:
                return Work(http.the_same(http.get(self.port, "/o/userinfo/", http.bearer(token))))
            return Work(http.the_same(http.post(self.port, "/o/introspect/", {"token": token}, _MACHINE)))
        path = {JWKS: "/o/.well-known/jwks.json", DISCOVERY: "/o/.well-known/openid-configuration"}[operation]
        return Work(http.the_same(http.get(self.port, path)))

    def _seed(self, kind: str, count: int) -> list[str]:
        answers: list[Answer] = []
        request = http.get(self.port, f"/seed/{kind}?count={count}")
        load.run(self.port, http.each_once([request]), Limits(60, 1, 1), keep=answers)
        return list(answers[0].json()["made"])

    def _redemption(self, code: str) -> bytes:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
        return http.post(self.port, "/o/token/", {**form, "code_verifier": http.VERIFIER}, _CLIENT)

    def _refresh(self, token: str) -> bytes:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return http.post(self.port, "/o/token/", form, _CLIENT)

    def _follow(self, answer: Answer) -> bytes:
        return self._refresh(answer.json()["refresh_token"])


@contextmanager
def running(
    name: str, database_url: str | None, workers: int, database_root: int | None, log: Path
) -> Iterator[DjangoToolkit]:
    """The peer, until the context ends.

    Raises:
        LoadFailed: when its packages are not to be had.
    """
    python = install("django", _REQUIREMENTS, log)
    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    environment = {
        "DATABASE_URL": database_url or f"sqlite:///{log.with_suffix('.sqlite')}",
        "RSA_KEY": key.decode(),
        "CODE_CHALLENGE": http.CHALLENGE,
    }
    with process([python, "-m", "bench.peers.django.app"], log, environment=environment) as tables:
        if tables.wait(60):
            raise load.LoadFailed(f"its tables could not be made: {log.read_text(errors='replace')[-500:]}")
    port = free_port()
    command = [python, "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws", "--port", str(port)]
    command += ["--workers", str(workers), "--blocking-threads", "1", "--log-level", "error"]
    with process([*command, "bench.peers.django.app:application"], log, environment=environment) as server:
        wait_until_open(port, "/o/.well-known/jwks.json", server, log)
        yield DjangoToolkit(name, port, server.pid, database_root)
