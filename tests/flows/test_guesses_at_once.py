"""Hundreds of guesses at the same instant, at two workers: no more are looked at than the budget has.

`GATEPOST_TEST_GUESSES=500` runs it at full size.
"""

from __future__ import annotations

import os
import random
import re
import socket
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from tests.conftest import ServerStarter
from tests.support.redis import RedisServer, redis_server
from tests.support.servers import Server

pytestmark = [pytest.mark.race, pytest.mark.timeout(180)]

GUESSES = int(os.environ.get("GATEPOST_TEST_GUESSES", "60"))
EMAIL, PASSWORD = "grace@example.com", "correct horse battery staple"
SETTINGS = {
    "GATEPOST_ARGON2_TIME_COST": "1",
    "GATEPOST_ARGON2_MEMORY_KIB": "8192",
    # Networks are told apart by what the proxy in front says.
    "GATEPOST_TRUSTED_PROXIES": "127.0.0.0/8",
}


@pytest.fixture
def redis(tmp_path: Path) -> Any:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "redis"])
def server(request: pytest.FixtureRequest, start: ServerStarter) -> Server:
    url = request.getfixturevalue("postgres").create_database() if request.param == "postgres" else None
    settings = dict(SETTINGS)
    if request.param == "redis":
        settings["GATEPOST_RATE_LIMIT_REDIS_URL"] = request.getfixturevalue("redis").url
    running = start(workers=2, database_url=url, settings=settings)
    running.run("users", "create", EMAIL, "--password-stdin", stdin=PASSWORD)
    return running


def prepared(server: Server, password: str, ip: str) -> bytes:
    """A guess ready to be sent, from a browser that has opened the page."""
    page = requests.get(server.url("/login"), timeout=30)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert token, page.text[:300]
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in page.cookies)
    form = {"csrf_token": token[1], "username": EMAIL, "password": password, "decision": "sign_in"}
    body = urlencode(form)
    return (
        f"POST /login HTTP/1.1\r\nHost: localhost:{server.port}\r\nCookie: {cookies}\r\nX-Forwarded-For: {ip}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        f"{body}"
    ).encode()


def prepare_all(server: Server, guesses: Sequence[tuple[str, str]]) -> list[bytes]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda guess: prepared(server, *guess), guesses))


def send_together(server: Server, requests_: Sequence[bytes]) -> list[int]:
    """The statuses: every connection is open, and everything but the last byte sent, before the first last byte is."""
    with ExitStack() as stack:
        connections = []
        for request in requests_:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            connection.sendall(request[:-1])
            connections.append(connection)
        for connection, request in zip(connections, requests_, strict=True):
            connection.sendall(request[-1:])
        return [int(connection.makefile("rb").readline().split()[1]) for connection in connections]


def check_budget(answers: Counter[int], budget: int) -> None:
    """No more guesses are looked at than the budget has; none less, unless a busy server asked to come again (503)."""
    assert answers.keys() <= {400, 429, 503}, answers
    assert answers[400] <= budget <= answers[400] + answers[503], answers


@pytest.mark.spec("B-02")
@pytest.mark.spec("INV-27")
def test_ten_guesses_of_many_are_looked_at_when_all_are_wrong(server: Server) -> None:
    guesses = [(f"a wrong guess {number}", "192.0.2.1") for number in range(GUESSES)]
    check_budget(Counter(send_together(server, prepare_all(server, guesses))), 10)
    # The right one comes too late.
    assert send_together(server, [prepared(server, PASSWORD, "192.0.2.1")]) == [429]
    assert send_together(server, [prepared(server, PASSWORD, "198.51.100.1")]) == [303]


@pytest.mark.spec("B-02")
def test_right_guess_among_many_succeeds_within_the_budget_or_not_at_all(server: Server) -> None:
    guesses = [(f"a wrong guess {number}", "192.0.2.1") for number in range(GUESSES - 1)] + [(PASSWORD, "192.0.2.1")]
    random.shuffle(guesses)
    answers = Counter(send_together(server, prepare_all(server, guesses)))
    assert answers.keys() <= {400, 303, 429, 503}
    # Whoever has got in has the account's budget anew; nobody else has.
    assert answers[400] + answers[303] <= 10 + 10 * answers[303]
    assert answers[400] + answers[303] + answers[503] >= 10


@pytest.mark.spec("R-17")
@pytest.mark.spec("B-08")
@pytest.mark.parametrize("fault", ["stop", "freeze"])
def test_guesses_are_limited_and_answered_when_redis_goes_away(
    start: ServerStarter, redis: RedisServer, fault: str
) -> None:
    settings = {**SETTINGS, "GATEPOST_RATE_LIMIT_REDIS_URL": redis.url, "GATEPOST_RATE_LIMIT_PROCESSES": "2"}
    server = start(workers=2, settings=settings)
    server.run("users", "create", EMAIL, "--password-stdin", stdin=PASSWORD)
    ready = prepare_all(server, [(f"a wrong guess {number}", "192.0.2.1") for number in range(GUESSES)])
    elsewhere = prepared(server, PASSWORD, "198.51.100.1")
    getattr(redis, fault)()
    answers = Counter(send_together(server, ready))
    # Each of two workers has half of the budget, which need not both be reached.
    assert answers.keys() <= {400, 429, 503}
    assert answers[400] + answers[503] >= 5
    assert answers[400] <= 10
    assert send_together(server, [elsewhere]) == [303]
    assert 1 <= server.log_tail(500).count("the rate-limit store does not answer") <= 2
