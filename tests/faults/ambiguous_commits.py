"""Cuts the way to PostgreSQL while a request changes something, at every point of it, and sends the request again.

    python -m tests.faults.ambiguous_commits --cuts 1000

Whether the change was committed before the cut nobody knows, the server as little as its client.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import requests
from sqlalchemy.engine import make_url

from tests.faults.replicas import replicas
from tests.interop.person import LostOnTheWay, Person, challenge_of
from tests.interop.registry import RegisteredClient, create_account, create_client
from tests.properties.results import keep
from tests.support.servers import Server, postgres_cluster
from tests.support.tcp_proxy import TcpProxy

VERIFIER = "a-verifier-that-is-long-enough-for-rfc-7636-to-allow-it"
#: The statements of a redemption that name the codes' table; a refresh is one statement.
POINTS = 2
PROMISE = (
    "The way to PostgreSQL is cut while codes are redeemed and refresh tokens used: the client is told 503, the same "
    "request again is safe, and no code or token is honoured twice."
)


@dataclass
class Report:
    """What came of it."""

    cuts: int = 0
    unavailable: int = 0
    faults: list[str] = field(default_factory=list)


class Client:
    """Somebody signed in, and the requests that are cut."""

    def __init__(self, server: Server, client: RegisteredClient, person: Person) -> None:
        self._server, self._client, self._person = server, client, person

    def post(self, form: Mapping[str, str]) -> requests.Response:
        """A token request."""
        credentials = (self._client.client_id, self._client.client_secret)
        return requests.post(self._server.url("/oauth/token"), dict(form), auth=credentials, timeout=30)

    def post_until_well(self, form: Mapping[str, str]) -> requests.Response:
        """A token request, sent again while it is answered 503."""
        deadline = time.monotonic() + 30
        answer = self.post(form)
        while answer.status_code == 503 and time.monotonic() < deadline:
            time.sleep(0.1)
            answer = self.post(form)
        return answer

    def tokens(self) -> dict[str, str]:
        """A fresh token response."""
        tokens: dict[str, str] = self.post_until_well(self.code()).json()
        return tokens

    def code(self) -> dict[str, str]:
        """The form that redeems a fresh code."""
        query = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": self._client.redirect_uri,
            "scope": "openid offline_access",
            "state": "s",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        }
        url = self._server.url("/oauth/authorize?" + urlencode(query))
        # A page that was answered 503 is loaded again, as people do.
        for _ in range(50):
            with suppress(LostOnTheWay):
                code = self._person.walk(url, self._client.redirect_uri).parameters["code"]
                break
            time.sleep(0.2)
        else:
            raise AssertionError("no code comes back")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._client.redirect_uri}
        return {**form, "code_verifier": VERIFIER}


def refresh_form(token: str) -> dict[str, str]:
    """The form that uses a refresh token."""
    return {"grant_type": "refresh_token", "refresh_token": token}


@contextmanager
def stage(directory: Path, database_url: str) -> Iterator[tuple[Client, TcpProxy]]:
    """A server behind a path that can be cut."""
    url = make_url(database_url)
    path = TcpProxy((str(url.host), int(url.port or 5432)))
    try:
        through = url.set(port=path.port).render_as_string(hide_password=False)
        with replicas(directory, through, 1) as (replica,):
            server = replica.server
            client = create_client(server, "web", "--first-party")
            person = create_account(server).at_a_browser()
            yield Client(server, client, person), path
            person.session.close()
    finally:
        path.close()


def run(directory: Path, database_url: str, cuts: int) -> Report:
    """Cuts `cuts` times, by turns while a code is redeemed and while a refresh token is used."""
    report = Report()
    with stage(directory, database_url) as (client, path):
        while report.cuts < cuts:
            point = report.cuts // 2 % POINTS + 1
            _cut_a_redemption(client, path, point, report)
            _cut_a_refresh(client, path, 1, report)
    return report


def _cut_a_redemption(client: Client, path: TcpProxy, point: int, report: Report) -> None:
    form = client.code()
    first, again = _cut(client, path, point, form, report)
    if first.status_code == 200:
        return
    if again.status_code == 200:
        if client.post_until_well(refresh_form(again.json()["refresh_token"])).status_code != 200:
            report.faults.append(f"point {point}: the tokens of a code that was redeemed again do not work")
    elif again.json()["error"] != "invalid_grant":
        report.faults.append(f"point {point}: a code again: {again.status_code} {again.text}")


def _cut_a_refresh(client: Client, path: TcpProxy, point: int, report: Report) -> None:
    token = client.tokens()["refresh_token"]
    first, again = _cut(client, path, point, refresh_form(token), report)
    if again.status_code != 200:
        report.faults.append(f"point {point}: a refresh again: {again.status_code} {again.text}")
        return
    if first.status_code == 200 and first.json() != again.json():
        report.faults.append(f"point {point}: a refresh token has two successors")
    if client.post_until_well(refresh_form(again.json()["refresh_token"])).status_code != 200:
        report.faults.append(f"point {point}: the successor does not work")


def _cut(
    client: Client, path: TcpProxy, point: int, form: Mapping[str, str], report: Report
) -> tuple[requests.Response, requests.Response]:
    """The answers to a request that was cut, and to the same one again once the database is back."""
    table = b"authorization_codes" if "code" in form else b"refresh_tokens"
    path.cut_after(point, table)
    first = client.post(form)
    path.cut_after(0)
    report.cuts += 1
    report.unavailable += first.status_code == 503
    if first.status_code not in {200, 503}:
        report.faults.append(f"point {point}: the first answer is {first.status_code} {first.text}")
    return first, client.post_until_well(form)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it as the command line asks; exit status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=1000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, postgres_cluster() as cluster:
        report = run(Path(folder), cluster.create_database(), options.cuts)
    print("\n".join(report.faults))
    figures = {"cuts": report.cuts, "answered 503": report.unavailable, "broken promises": len(report.faults)}
    keep("ambiguous-commits", PROMISE, figures, "python -m tests.faults.ambiguous_commits")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
