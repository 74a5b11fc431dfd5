"""Gatepost with so many rows, asked about a thousand of them, or about any."""

from __future__ import annotations

import random
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit

import psycopg

from bench import http, load
from bench.gatepost import OPENID, PASSWORD, PLAIN, REDIRECT_URI, forget_attempts, login_request
from bench.growth import loading
from bench.http import Answer, Source
from bench.load import Limits
from bench.subject import HttpSubject, Work, each_once
from tests.interop.person import Person
from tests.support.servers import Server

CLIENTS, REFRESH, INTROSPECT, USERINFO = "client_credentials ES256", "refresh ES256", "introspection", "userinfo"
LOGIN = "password login"
KINDS = (CLIENTS, REFRESH, INTROSPECT, USERINFO, LOGIN)
FEW, ANY = "of 1,000", "of all"
#: Access tokens come from a refresh each: there are a thousand of them, not as many as rows.
OPERATIONS = tuple(
    f"{kind}, {keys}" for kind in KINDS for keys in ((FEW,) if kind in {INTROSPECT, USERINFO} else (FEW, ANY))
)
WORKING_SET = 1_000
LOGINS_PER_SECOND = 40


def make_originals(server: Server) -> str:
    """One web application, one machine, one person, one grant and one refresh token, by Gatepost's own means.

    Returns:
        The secret of `resource-server`, which may introspect all tokens.
    """
    common = ("--access-token-alg", "ES256", "--scope")
    server.run("clients", "create", "m", "--client-id", "machine", "--type", "machine", *common, "notes:read")
    resource_server = server.run_json(
        "clients", "create", "r", "--client-id", "resource-server", "--type", "machine", "--introspect-any",
        *common, "notes:read",
    )  # fmt: skip
    web = server.run_json(
        "clients", "create", "w", "--client-id", "web", "--type", "web", "--redirect-uri", REDIRECT_URI,
        "--first-party", *common, f"{OPENID} notes:read",
    )  # fmt: skip
    server.run("users", "create", "first@bench.example", "--name", "Bench", "--password-stdin", stdin=PASSWORD)
    query = {"response_type": "code", "client_id": "web", "redirect_uri": REDIRECT_URI, "scope": f"{OPENID} notes:read"}
    query["state"] = "state"
    query |= {"code_challenge": http.CHALLENGE, "code_challenge_method": "S256"}
    person = Person("first@bench.example", PASSWORD)
    callback = person.walk(server.url(f"/oauth/authorize?{urlencode(query)}"), REDIRECT_URI)
    form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI, "code_verifier": http.VERIFIER}
    form["code"] = parse_qs(urlsplit(callback.url).query)["code"][0]
    request = http.post(server.port, "/oauth/token", form, http.basic("web", web["client_secret"]))
    answers: list[Answer] = []
    load.run(server.port, http.each_once([request]), Limits(30, 1, 1), keep=answers)
    if "refresh_token" not in answers[0].json():
        raise load.LoadFailed(f"no refresh token: {answers[0].body[:300]!r}")
    return str(resource_server["client_secret"])


class Grown(HttpSubject):
    """A running server whose database was filled."""

    operations: tuple[str, ...] = OPERATIONS
    #: Every process is to have met the clients of the working set.
    warm_up_seconds = 1.0

    def __init__(self, server: Server, rows: int, database_root: int, secret: str) -> None:
        super().__init__(f"{rows:,} rows", server.port, server.process.pid, database_root)
        self._url, self._rows = server.environment["GATEPOST_DATABASE_URL"], rows
        self._resource_server = http.basic("resource-server", secret)
        # Not a secret: which rows are asked about.
        self._random = random.Random(rows)
        self._half = self._random.sample(range(1, rows // 2 + 1), min(WORKING_SET, rows) // 2)
        # Grants half of all rows apart are one client's: so there are as many clients in it at every size.
        self._few = [*self._half, *(number + rows // 2 for number in self._half)]
        #: The present refresh token of every grant that was refreshed.
        self._present: dict[int, str] = {}
        self._access: list[str] = []
        self._makers: dict[str, Callable[[str, Limits], Work]] = {
            CLIENTS: lambda keys, _: Work(self._client_credentials(keys)),
            REFRESH: lambda keys, _: Work(self._refreshes(keys)),
            INTROSPECT: lambda _keys, _limits: Work(self._introspections()),
            USERINFO: lambda _keys, _limits: Work(self._userinfo()),
            LOGIN: lambda keys, limits: each_once(self._logins(keys, limits.seconds), 303),
        }

    def about(self) -> str:
        """One line for the report."""
        with psycopg.connect(self._url) as database:
            row = database.execute("SELECT pg_database_size(current_database())").fetchone()
        return f"{row[0] / 1e9:.2f} GB on disk" if row else ""

    def prepare(self, operation: str, limits: Limits) -> Work:
        """Makes ready what the operation needs, through the endpoints themselves."""
        kind, _, keys = operation.partition(", ")
        return self._makers[kind](keys, limits)

    def _number(self, keys: str) -> int:
        return self._random.choice(self._few) if keys == FEW else self._random.randint(1, self._rows)

    def _machine(self, keys: str) -> int:
        # Machines have even numbers.
        return 2 * (self._random.choice(self._half) if keys == FEW else self._random.randint(1, self._rows // 2))

    def _client_credentials(self, keys: str) -> Source:
        form = {"grant_type": "client_credentials", "scope": "notes:read"}
        return lambda _connection, _answer: http.post(self.port, "/oauth/token", form, _client(self._machine(keys)))

    def _refreshes(self, keys: str) -> Source:
        under_way: dict[int, int] = {}

        def source(connection: int, answer: Answer | None) -> bytes:
            number = under_way.pop(connection, 0)
            if answer is not None:
                self._present[number] = str(answer.json()["refresh_token"])
            number = self._number(keys)
            while number in under_way.values():
                number = self._number(keys)
            under_way[connection] = number
            return self._refresh(number)

        return source

    def _refresh(self, number: int, scope: str = PLAIN) -> bytes:
        token = self._present.get(number) or loading.refresh_token(number)
        form = {"grant_type": "refresh_token", "refresh_token": token, "scope": scope}
        return http.post(self.port, "/oauth/token", form, _client(loading.client_of_grant(number, self._rows)))

    def _tokens(self) -> list[str]:
        """Access tokens of the thousand; made once."""
        if not self._access:
            answers = [self.collect([self._refresh(number, OPENID)])[0].json() for number in self._few]
            self._present |= {each: answer["refresh_token"] for each, answer in zip(self._few, answers, strict=True)}
            self._access = [answer["access_token"] for answer in answers]
        return self._access

    def _introspections(self) -> Source:
        requests = [
            http.post(self.port, "/oauth/introspect", {"token": token}, self._resource_server)
            for token in self._tokens()
        ]
        return lambda _connection, _answer: self._random.choice(requests)

    def _userinfo(self) -> Source:
        requests = [http.get(self.port, "/oauth/userinfo", http.bearer(token)) for token in self._tokens()]
        return lambda _connection, _answer: self._random.choice(requests)

    def _logins(self, keys: str, seconds: float) -> list[bytes]:
        forget_attempts(self._url)
        count = max(1, int(LOGINS_PER_SECOND * seconds))
        pages = self.collect([http.get(self.port, "/login")] * count)
        # No two at once by the same person.
        numbers = self._random.sample(self._few if keys == FEW else range(1, self._rows + 1), count)
        return [
            login_request(self.port, page, loading.email(number)) for number, page in zip(numbers, pages, strict=True)
        ]


def _client(number: int) -> dict[str, str]:
    return http.basic(loading.client_id(number), loading.client_secret(number))
