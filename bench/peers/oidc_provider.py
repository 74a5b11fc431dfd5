"""npm oidc-provider: in memory as one process, and on PostgreSQL as a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import http, load
from bench.floors.subjects import process, wait_until_open
from bench.http import Answer
from bench.load import Limits
from bench.subject import (
    CLIENT_CREDENTIALS,
    CLIENT_CREDENTIALS_ES256,
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
from tests.support.components import REPOSITORY
from tests.support.servers import free_port

SOURCE, FOLDER = Path(__file__).parent / "node", REPOSITORY / "var" / "bench" / "node"
REDIRECT_URI = "https://bench.example/callback"
_SECRET = "a-client-secret-that-is-long-enough-for-anything"
_CLIENT, _RESOURCE_SERVER = http.basic("bench", _SECRET), http.basic("resource-server", _SECRET)
_RESOURCES = {CLIENT_CREDENTIALS: "https://rs256.example", CLIENT_CREDENTIALS_ES256: "https://es256.example"}


class OidcProvider(HttpSubject):
    """A running peer."""

    operations: tuple[str, ...] = (
        CLIENT_CREDENTIALS,
        CLIENT_CREDENTIALS_ES256,
        CODE_EXCHANGE,
        REFRESH,
        REFRESH_WITH_ID_TOKEN,
        INTROSPECTION,
        USERINFO,
        JWKS,
        DISCOVERY,
    )

    def __init__(self, name: str, port: int, root: int, database_root: int | None, processes: int) -> None:
        super().__init__(name, port, root, database_root)
        self._processes = processes
        if database_root is None:
            self.differs = dict.fromkeys(ON_TOKENS, "all is in one process's memory: no row is read or written")
        else:
            opaque = "its token is an opaque row: there is no signature to verify"
            self.differs = {INTROSPECTION: opaque, USERINFO: opaque}

    def about(self) -> str:
        """One line for the report."""
        package = json.loads((FOLDER / "node_modules" / "oidc-provider" / "package.json").read_text())
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        kept = "PostgreSQL, one jsonb table, prepared statements" if self.database_root else "its memory adapter"
        how_many = "one process" if self._processes == 1 else f"a cluster of {self._processes} processes"
        return (
            f"npm oidc-provider {package['version']} on node {node}, {how_many}, {kept}; PKCE, rotation, plain client "
            "secrets; JWT access tokens for a resource, opaque ones for userinfo and introspection, as it wants it"
        )

    def prepare(self, operation: str, limits: Limits) -> Work:
        """Mints through the peer's own models what the operation needs."""
        if operation in _RESOURCES:
            form = {"grant_type": "client_credentials", "scope": "notes:read", "resource": _RESOURCES[operation]}
            return Work(http.the_same(self._post("/token", form)))
        if operation == CODE_EXCHANGE:
            count = prepared(CODE_EXCHANGE, limits)
            if self.database_root is None:
                # Its memory holds the thousand newest things, of which each exchange needs four.
                count = min(count, 240)
            return each_once([self._redemption(code) for code in self._seed("codes", count)])
        if operation in {REFRESH, REFRESH_WITH_ID_TOKEN}:
            kind = "refresh_tokens" if operation == REFRESH_WITH_ID_TOKEN else "plain_refresh_tokens"
            first = [self._refresh(token) for token in self._seed(kind, limits.connections)]
            return Work(http.each_after_the_other(first, self._follow))
        if operation in {INTROSPECTION, USERINFO}:
            token = self._seed("access_tokens", 1)[0]
            if operation == USERINFO:
                return Work(http.the_same(http.get(self.port, "/me", http.bearer(token))))
            return Work(http.the_same(self._post("/token/introspection", {"token": token}, _RESOURCE_SERVER)))
        path = {JWKS: "/jwks", DISCOVERY: "/.well-known/openid-configuration"}[operation]
        return Work(http.the_same(http.get(self.port, path)))

    def _post(self, path: str, form: dict[str, str], client: dict[str, str] = _CLIENT) -> bytes:
        return http.post(self.port, path, form, client)

    def _seed(self, kind: str, count: int) -> list[str]:
        answers: list[Answer] = []
        request = http.get(self.port, f"/seed/{kind}?count={count}")
        load.run(self.port, http.each_once([request]), Limits(60, 1, 1), keep=answers)
        return list(answers[0].json()["made"])

    def _redemption(self, code: str) -> bytes:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
        return self._post("/token", {**form, "code_verifier": http.VERIFIER, "resource": "https://rs256.example"})

    def _refresh(self, token: str) -> bytes:
        form = {"grant_type": "refresh_token", "refresh_token": token, "resource": "https://rs256.example"}
        return self._post("/token", form)

    def _follow(self, answer: Answer) -> bytes:
        return self._refresh(answer.json()["refresh_token"])


@contextmanager
def running(
    name: str, database_url: str | None, workers: int, database_root: int | None, log: Path
) -> Iterator[OidcProvider]:
    """The peer, until the context ends.

    Raises:
        LoadFailed: when node, npm or the packages are not to be had.
    """
    install(log)
    port = free_port()
    # Memory cannot be shared by processes.
    processes = workers if database_url else 1
    environment = {"PORT": str(port), "WORKERS": str(processes), "DATABASE_URL": database_url or ""}
    environment |= {"CODE_CHALLENGE": http.CHALLENGE, "NODE_ENV": "production"}
    with process(["node", "server.mjs"], log, FOLDER, environment) as node:
        wait_until_open(port, "/jwks", node, log)
        yield OidcProvider(name, port, node.pid, database_root, processes)


def install(log: Path) -> None:
    """Copies the server to where packages may lie, and installs what package-lock.json pins, unless it is there."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise load.LoadFailed("node and npm are not installed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file in SOURCE.iterdir():
        if file.is_file():
            shutil.copy(file, FOLDER)
    wanted, installed = (SOURCE / "package-lock.json").read_text(), FOLDER / "node_modules" / ".made-from"
    if installed.exists() and installed.read_text() == wanted:
        return
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    with log.open("ab") as output:
        if subprocess.run(command, cwd=FOLDER, stdout=output, stderr=output, check=False).returncode:
            raise load.LoadFailed(f"npm ci failed: {log.read_text(errors='replace')[-500:]}")
    installed.write_text(wanted)
