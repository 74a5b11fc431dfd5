"""Keycloak in production mode on PostgreSQL: one node, plain HTTP, its own JVM settings, warmed up beforehand.

Refresh tokens rotate (`revokeRefreshToken`), sessions are persisted as by default, and client secrets are plain rows,
as it keeps them. Access and ID tokens are JWTs; its refresh tokens are, too.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

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
    LOGIN,
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

VERSION = "26.7.3"
SHA256 = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
FOLDER = REPOSITORY / "var" / "bench" / "keycloak"
HOME = FOLDER / f"keycloak-{VERSION}"
REDIRECT_URI = "https://bench.example/callback"
PASSWORD = "a long enough password"
PEOPLE = 16
WARM_UP_SECONDS = 8.0
WARM_UP_ROUNDS = 4
_SECRET = "a-client-secret-that-is-long-enough-for-anything"
_MACHINES = {CLIENT_CREDENTIALS: "machine-rs256", CLIENT_CREDENTIALS_ES256: "machine-es256"}


class Keycloak(HttpSubject):
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
        LOGIN,
    )
    differs: Mapping[str, str] = {
        **dict.fromkeys(ON_TOKENS, "sessions, clients and keys are cached in the heap of one JVM"),
        LOGIN: "its argon2id takes other parameters: 7 MiB, five passes",
    }

    def __init__(self, name: str, port: int, root: int, database_root: int | None) -> None:
        super().__init__(name, port, root, database_root)
        self._sessions = self._sign_in()
        self._makers: dict[str, Callable[[Limits], Work]] = {
            CODE_EXCHANGE: lambda limits: each_once(self._redemptions(prepared(CODE_EXCHANGE, limits))),
            REFRESH: lambda limits: self._refreshes(limits, "profile email"),
            REFRESH_WITH_ID_TOKEN: lambda limits: self._refreshes(limits, "openid profile email"),
            INTROSPECTION: lambda _: self._introspections(),
            USERINFO: lambda _: Work(http.the_same(http.get(self.port, _path("userinfo"), http.bearer(self._token())))),
            JWKS: lambda _: Work(http.the_same(http.get(self.port, _path("certs")))),
            DISCOVERY: lambda _: Work(http.the_same(http.get(self.port, _DISCOVERY))),
            LOGIN: lambda limits: each_once(self._logins(prepared(LOGIN, limits)), 302),
        }

    def about(self) -> str:
        """One line for the report."""
        java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
        return (
            f"Keycloak {VERSION} on {java.splitlines()[1]}, `kc.sh start --optimized` built with {BUILD}, one node, "
            f"default heap; refresh tokens rotate; argon2id with t=5, m=7 MiB; warmed up with {WARM_UP_SECONDS:g} s of "
            "each operation"
        )

    def warm_up(self, limits: Limits) -> None:
        """Lets the JVM compile what will be measured."""
        seconds = min(WARM_UP_SECONDS, WARM_UP_ROUNDS * limits.seconds)
        for operation in self.operations:
            is_prepared = operation in {LOGIN, CODE_EXCHANGE}
            self.measure(operation, replace(limits, seconds=seconds / 4 if is_prepared else seconds))

    def prepare(self, operation: str, limits: Limits) -> Work:
        """Makes ready what the operation needs, through the endpoints themselves."""
        if operation in _MACHINES:
            form = {"grant_type": "client_credentials"}
            return Work(http.the_same(http.post(self.port, _path("token"), form, _client(_MACHINES[operation]))))
        return self._makers[operation](limits)

    def _sign_in(self) -> list[dict[str, str]]:
        """Everybody's session, as the header of a browser."""
        answers = self.collect(self._logins(PEOPLE), expected=302)
        return [{"Cookie": _cookies(answer)} for answer in answers]

    def _redemptions(self, count: int, scope: str = "openid profile email") -> list[bytes]:
        """Requests that each redeem a fresh code; the people take turns."""
        path = _authorization(scope)
        requests = [http.get(self.port, path, self._sessions[number % PEOPLE]) for number in range(count)]
        answers = self.collect(requests, expected=302)
        codes = [parse_qs(urlsplit(answer.header("Location")).query)["code"][0] for answer in answers]
        form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI, "code_verifier": http.VERIFIER}
        return [http.post(self.port, _path("token"), {**form, "code": code}, _client("web")) for code in codes]

    def _token(self) -> str:
        return str(self.collect(self._redemptions(1))[0].json()["access_token"])

    def _introspections(self) -> Work:
        form = {"token": self._token()}
        return Work(http.the_same(http.post(self.port, _path("token/introspect"), form, _client("resource-server"))))

    def _refreshes(self, limits: Limits, scope: str) -> Work:
        def refresh(answer: Answer) -> bytes:
            form = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
            return http.post(self.port, _path("token"), form, _client("web"))

        answers = self.collect(self._redemptions(limits.connections, scope))
        return Work(http.each_after_the_other([refresh(answer) for answer in answers], refresh))

    def _logins(self, count: int) -> list[bytes]:
        """Sign-ins, each from a browser of its own that has opened the page."""
        pages = self.collect([http.get(self.port, _authorization("openid"))] * count)
        return [self._login(page, number % PEOPLE) for number, page in enumerate(pages)]

    def _login(self, page: Answer, number: int) -> bytes:
        found = re.search(rb'action="([^"]+)"', page.body)
        if found is None:
            raise load.LoadFailed(f"{self.name}: the sign-in page has no form")
        action = urlsplit(html.unescape(found[1].decode()))
        form = {"username": f"person{number}", "password": PASSWORD, "credentialId": ""}
        return http.post(self.port, f"{action.path}?{action.query}", form, {"Cookie": _cookies(page)})


def _cookies(answer: Answer) -> str:
    """What a browser would send after this answer."""
    lines = [line.partition(b":") for line in answer.head.split(b"\r\n")]
    pairs = [value.strip().partition(b";")[0] for name, _, value in lines if name.lower() == b"set-cookie"]
    return b"; ".join(pair for pair in pairs if not pair.endswith(b"=")).decode()


_REALM = "/realms/bench"
_DISCOVERY = f"{_REALM}/.well-known/openid-configuration"


def _path(endpoint: str) -> str:
    return f"{_REALM}/protocol/openid-connect/{endpoint}"


def _authorization(scope: str) -> str:
    query = {
        "response_type": "code",
        "client_id": "web",
        "redirect_uri": REDIRECT_URI,
        "scope": scope,
        "state": "state",
        "code_challenge": http.CHALLENGE,
        "code_challenge_method": "S256",
    }
    return f"{_path('auth')}?{urlencode(query)}"


def _client(name: str) -> dict[str, str]:
    return http.basic(name, _SECRET)


def _realm() -> dict[str, Any]:
    """What its administrator would have set up."""
    common = {"secret": _SECRET, "enabled": True, "publicClient": False, "directAccessGrantsEnabled": False}
    machine = {**common, "serviceAccountsEnabled": True, "standardFlowEnabled": False}
    algorithm, pkce = "access.token.signed.response.alg", "pkce.code.challenge.method"
    # The token is about another client, which must name the resource server as an audience for it to be told.
    audience = {
        "name": "resource-server",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {"included.client.audience": "resource-server", "access.token.claim": "true"},
    }
    person = {"enabled": True, "emailVerified": True, "firstName": "Bench", "lastName": "Person"}
    return {
        "realm": "bench",
        "enabled": True,
        "sslRequired": "none",
        "accessTokenLifespan": 3600,
        "revokeRefreshToken": True,
        "refreshTokenMaxReuse": 0,
        "clients": [
            {**machine, "clientId": "machine-rs256", "attributes": {algorithm: "RS256"}},
            {**machine, "clientId": "machine-es256", "attributes": {algorithm: "ES256"}},
            {**machine, "clientId": "resource-server"},
            {
                **common,
                "clientId": "web",
                "standardFlowEnabled": True,
                "redirectUris": [REDIRECT_URI],
                "attributes": {algorithm: "RS256", pkce: "S256"},
                "protocolMappers": [audience],
            },
        ],
        "users": [
            {
                **person,
                "username": f"person{number}",
                "email": f"person{number}@bench.example",
                "credentials": [{"type": "password", "value": PASSWORD}],
            }
            for number in range(PEOPLE)
        ],
    }


@contextmanager
def running(
    name: str, database_url: str | None, workers: int, database_root: int | None, log: Path
) -> Iterator[Keycloak]:
    """The peer, until the context ends; it takes all cores, whatever `workers` says.

    Raises:
        LoadFailed: when Java, Maven or the distribution are not to be had.
    """
    install(log)
    imported = HOME / "data" / "import"
    imported.mkdir(parents=True, exist_ok=True)
    (imported / "bench-realm.json").write_text(json.dumps(_realm()))
    database, port = urlsplit(database_url or ""), free_port()
    environment = {
        "KC_DB_URL": f"jdbc:postgresql://{database.hostname}:{database.port}{database.path}",
        "KC_DB_USERNAME": database.username or "",
        "KC_DB_PASSWORD": database.password or "",
        "KC_BOOTSTRAP_ADMIN_USERNAME": "bench",
        "KC_BOOTSTRAP_ADMIN_PASSWORD": os.urandom(16).hex(),
    }
    command = [str(HOME / "bin" / "kc.sh"), "start", "--optimized", "--import-realm", "--http-enabled=true"]
    command += ["--http-host=127.0.0.1", f"--http-port={port}", "--hostname-strict=false", "--log-level=warn"]
    with process(command, log, HOME, environment) as server:
        wait_until_open(port, _DISCOVERY, server, log, seconds=240)
        yield Keycloak(name, port, server.pid, database_root)


def install(log: Path) -> None:
    """Fetches the distribution, checks its digest and builds it for PostgreSQL, unless it is there."""
    made_from, wanted = HOME / ".made-from", f"{SHA256} {BUILD}"
    if made_from.exists() and made_from.read_text() == wanted:
        return
    maven = shutil.which("mvn")
    if maven is None or shutil.which("java") is None:
        raise load.LoadFailed("java and mvn are not installed")
    artifact = f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
    copy = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
    _run([maven, "-q", "-B", copy, artifact, f"-DoutputDirectory={FOLDER}"], FOLDER, log)
    archive = FOLDER / f"keycloak-quarkus-dist-{VERSION}.zip"
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise load.LoadFailed(f"{archive.name} does not have the digest it should have")
    shutil.rmtree(HOME, ignore_errors=True)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(FOLDER)
    for script in (HOME / "bin").glob("*.sh"):
        script.chmod(0o755)
    _run([str(HOME / "bin" / "kc.sh"), "build", *BUILD.split()], HOME, log)
    made_from.write_text(wanted)


BUILD = "--db=postgres --cache=local"
"""What is fixed when it is built for production."""


def _run(command: list[str], folder: Path, log: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        if subprocess.run(command, cwd=folder, stdout=output, stderr=output, check=False).returncode:
            raise load.LoadFailed(f"{command[0]} failed: {log.read_text(errors='replace')[-500:]}")
