"""Gatepost as `gatepost serve` runs it, driven from outside: through its commands, its pages and its endpoints."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from urllib.parse import parse_qs, urlencode, urlsplit

import psycopg

from bench import http, load
from bench.http import Answer
from bench.load import Limits
from bench.subject import (
    BESIDE_LOGINS,
    CLIENT_CREDENTIALS,
    CLIENT_CREDENTIALS_ES256,
    CODE_EXCHANGE,
    DISCOVERY,
    INTROSPECTION,
    JWKS,
    KEY_INTROSPECTION,
    KEY_VERIFICATION,
    LIMITED_VERIFICATION,
    LOGIN,
    MISTYPED_VERIFICATION,
    OPERATIONS,
    REFRESH,
    REFRESH_ES256,
    REFRESH_WITH_ID_TOKEN,
    USERINFO,
    HttpSubject,
    Sample,
    Work,
    each_once,
    prepared,
)
from tests.interop.person import Person
from tests.support.servers import Server

SETTINGS = {"GATEPOST_SCOPES": '{"notes:read": "Read your notes"}', "GATEPOST_LOG_LEVEL": "warning"}
REDIRECT_URI = "https://bench.example/callback"
OPENID = "openid profile email offline_access"
PLAIN = "notes:read offline_access"
PASSWORD = "mauve-Lanterns-71-drift-Slowly"
#: Each command that makes one takes a second.
PEOPLE = 8
LOGINS_PER_SECOND = 20


class Gatepost(HttpSubject):
    """A running server with clients and people in it."""

    operations: tuple[str, ...] = OPERATIONS

    def __init__(self, name: str, server: Server, workers: int, database_root: int | None) -> None:
        super().__init__(name, server.port, server.process.pid, database_root)
        self._server, self._workers = server, workers
        self._machine = self._client("machine", "RS256", "--scope", "notes:read")
        self._machine_es256 = self._client("machine", "ES256", "--scope", "notes:read")
        web = ("--redirect-uri", REDIRECT_URI, "--first-party", "--scope", f"{OPENID} notes:read")
        self._web, self._web_es256 = self._client("web", "RS256", *web), self._client("web", "ES256", *web)
        self._resource_server = self._client("machine", "EdDSA", "--scope", "notes:read", "--introspect-any")
        for number in range(PEOPLE):
            server.run("users", "create", _email(number), "--name", "Bench", "--password-stdin", stdin=PASSWORD)
        server.run("organizations", "create", "Bench", "--slug", "bench")
        self._key, self._limited_key = self._api_key(), self._api_key("--rate-limit", "1000000")
        self._cookies = self._sign_in()
        self._makers: dict[str, Callable[[Limits], Work]] = {
            CLIENT_CREDENTIALS: lambda _: self._client_credentials(self._machine),
            CLIENT_CREDENTIALS_ES256: lambda _: self._client_credentials(self._machine_es256),
            CODE_EXCHANGE: lambda limits: each_once(self._redemptions(prepared(CODE_EXCHANGE, limits))),
            REFRESH: lambda limits: self._refreshes(limits, self._web, PLAIN),
            REFRESH_ES256: lambda limits: self._refreshes(limits, self._web_es256, PLAIN),
            REFRESH_WITH_ID_TOKEN: lambda limits: self._refreshes(limits, self._web, OPENID),
            INTROSPECTION: lambda _: self._introspections(self._token()),
            KEY_INTROSPECTION: lambda _: self._introspections(self._key),
            KEY_VERIFICATION: lambda _: self._verifications(self._key),
            LIMITED_VERIFICATION: lambda _: self._verifications(self._limited_key),
            MISTYPED_VERIFICATION: lambda _: self._verifications(mistyped(self._key), 401),
            USERINFO: lambda _: Work(http.the_same(http.get(self.port, "/oauth/userinfo", http.bearer(self._token())))),
            JWKS: lambda _: Work(http.the_same(http.get(self.port, "/.well-known/jwks.json"))),
            DISCOVERY: lambda _: Work(http.the_same(http.get(self.port, "/.well-known/openid-configuration"))),
            BESIDE_LOGINS: lambda _: self._client_credentials(self._machine),
            LOGIN: lambda limits: each_once(self._logins(prepared(LOGIN, limits)), 303),
        }

    def about(self) -> str:
        """One line for the report."""
        backend = "PostgreSQL, fsync on" if self.database_root else "SQLite, synchronous=FULL"
        return f"`gatepost serve --workers {self._workers}` of this checkout, granian {version('granian')}, {backend}"

    def measure(self, operation: str, limits: Limits) -> Sample:
        """As for every server; one operation has people signing in beside it, whose CPU is in its figure."""
        if operation != BESIDE_LOGINS:
            return super().measure(operation, limits)
        logins = self._logins(int(LOGINS_PER_SECOND * (limits.seconds + 1)))
        pace = load.Pace(self.port, logins, LOGINS_PER_SECOND, expected=303)
        people = threading.Thread(target=pace.run)
        people.start()
        try:
            sample = super().measure(operation, limits)
        finally:
            pace.stop()
            people.join()
        if pace.wrong:
            complaint = f"sign-in: {pace.wrong[0]!r}"
            return replace(sample, failures=sample.failures + len(pace.wrong), complaint=complaint)
        return sample

    def prepare(self, operation: str, limits: Limits) -> Work:
        """Makes ready what the operation needs, through the endpoints themselves."""
        return self._makers[operation](limits)

    def _client(self, client_type: str, algorithm: str, *options: str) -> tuple[str, dict[str, str]]:
        """A new client; its id and the header it authenticates with."""
        name = f"bench-{client_type}-{algorithm.lower()}"
        made = self._server.run_json(
            "clients", "create", name, "--client-id", name, "--type", client_type, "--access-token-alg", algorithm,
            *options,
        )  # fmt: skip
        return name, http.basic(name, made["client_secret"])

    def _sign_in(self) -> dict[str, str]:
        person = Person(_email(0), PASSWORD)
        person.walk(self._server.url(self._authorization_path(self._web[0], OPENID)), REDIRECT_URI)
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in person.session.cookies)
        return {"Cookie": cookies}

    def _authorization_path(self, client_id: str, scope: str) -> str:
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": scope,
            "state": "state",
            "code_challenge": http.CHALLENGE,
            "code_challenge_method": "S256",
        }
        return f"/oauth/authorize?{urlencode(query)}"

    def _client_credentials(self, client: tuple[str, dict[str, str]]) -> Work:
        form = {"grant_type": "client_credentials", "scope": "notes:read"}
        return Work(http.the_same(http.post(self.port, "/oauth/token", form, client[1])))

    def _api_key(self, *options: str) -> str:
        made = self._server.run_json("api-keys", "create", "bench", "Bench", "--permission", "notes:read", *options)
        return str(made["key"])

    def _verifications(self, key: str, expected: int = 200) -> Work:
        """A gateway asks about every request of one client."""
        path = "/v1/verify?scope=notes:read&environment=live"
        headers = {**http.bearer(key), "X-Original-Method": "GET", "X-Original-URI": "/notes?page=2"}
        return Work(http.the_same(http.get(self.port, path, headers)), expected)

    def _introspections(self, token: str) -> Work:
        """A resource server asks about what somebody else holds."""
        form = {"token": token}
        return Work(http.the_same(http.post(self.port, "/oauth/introspect", form, self._resource_server[1])))

    def _redemptions(
        self, count: int, client: tuple[str, dict[str, str]] | None = None, scope: str = OPENID
    ) -> list[bytes]:
        """Requests that each redeem a fresh code."""
        client_id, authentication = client or self._web
        authorization = http.get(self.port, self._authorization_path(client_id, scope), self._cookies)
        answers = self.collect([authorization] * count, expected=303)
        codes = [parse_qs(urlsplit(answer.header("Location")).query)["code"][0] for answer in answers]
        form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI, "code_verifier": http.VERIFIER}
        return [http.post(self.port, "/oauth/token", {**form, "code": code}, authentication) for code in codes]

    def _token(self) -> str:
        return str(self.collect(self._redemptions(1))[0].json()["access_token"])

    def _refreshes(self, limits: Limits, client: tuple[str, dict[str, str]], scope: str) -> Work:
        def refresh(answer: Answer) -> bytes:
            form = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
            return http.post(self.port, "/oauth/token", form, client[1])

        answers = self.collect(self._redemptions(limits.connections, client, scope))
        return Work(http.each_after_the_other([refresh(answer) for answer in answers], refresh))

    def _logins(self, count: int) -> list[bytes]:
        """Sign-ins, each from a browser of its own that has opened the page."""
        forget_attempts(self._server.environment["GATEPOST_DATABASE_URL"])
        pages = self.collect([http.get(self.port, "/login")] * count)
        return [login_request(self.port, page, _email(number % PEOPLE)) for number, page in enumerate(pages)]


def login_request(port: int, page: Answer, email: str) -> bytes:
    """The form on the page that signs in, filled in.

    Raises:
        LoadFailed: when the page is another one.
    """
    found = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', page.body)
    if found is None:
        raise load.LoadFailed(f"the sign-in page has no csrf_token: {page.body[:300]!r}")
    form = {"csrf_token": found[1].decode(), "username": email, "password": PASSWORD, "decision": "sign_in"}
    cookie = page.header("Set-Cookie").partition(";")[0]
    return http.post(port, "/login", form, {"Cookie": cookie})


def mistyped(key: str) -> str:
    """The key with another last character."""
    return key[:-1] + ("0" if key[-1] != "0" else "1")


def forget_attempts(url: str) -> None:
    """Everything here comes from one address, whose budget of a day is spent in seconds."""
    if url.startswith("sqlite:///"):
        with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=10) as connection:
            connection.execute("DELETE FROM login_attempts")
        connection.close()
    else:
        with psycopg.connect(url) as database:
            database.execute("DELETE FROM login_attempts")


def _email(number: int) -> str:
    return f"person{number}@bench.example"
