"""What `gatepost serve` makes of requests that no well-behaved client sends, byte by byte over a socket."""

import base64
import errno
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import requests

from tests.interop.registry import SCOPE, create_account, create_client
from tests.support.servers import Server, ServerFailed, start_server

pytestmark = pytest.mark.interop

CLOSE = b"Connection: close\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start_server(tmp_path_factory.mktemp("raw"), "serve", workers=1) as running_server:
        yield running_server


def exchange(server: Server, data: bytes, seconds: float = 20) -> bytes:
    """Everything the server says to these bytes until it closes or falls silent."""
    said = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        connection.sendall(data)
        with suppress(TimeoutError, ConnectionResetError):
            while part := connection.recv(65536):
                said += part
    return said


def statuses(said: bytes) -> list[int]:
    """The status of every response in a byte stream."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", said)]


def host(server: Server) -> bytes:
    return f"Host: localhost:{server.port}\r\n".encode()


def test_discovery_answers_when_the_request_is_well_formed(server: Server) -> None:
    said = exchange(server, b"GET /.well-known/openid-configuration HTTP/1.1\r\n" + host(server) + CLOSE + b"\r\n")
    assert statuses(said) == [200]


@pytest.mark.spec("RFC 9112 §3.2")
@pytest.mark.parametrize(
    "hosts",
    [b"Host: evil.example\r\n", b"SAME"],
    ids=["two different", "two equal"],
)
@pytest.mark.parametrize("path", [b"/", b"/.well-known/openid-configuration", b"/healthz", b"/oauth/authorize"])
def test_request_is_refused_when_it_has_two_hosts(server: Server, hosts: bytes, path: bytes) -> None:
    second = host(server) if hosts == b"SAME" else hosts
    said = exchange(server, b"GET " + path + b" HTTP/1.1\r\n" + host(server) + second + CLOSE + b"\r\n")
    assert statuses(said) == [400]


@pytest.mark.spec("RFC 9112 §3.2")
@pytest.mark.parametrize("line", [b"", b"Host:\r\n", b"Host: \r\n"], ids=["absent", "empty", "blank"])
def test_request_is_refused_when_it_has_no_host(server: Server, line: bytes) -> None:
    said = exchange(server, b"GET /.well-known/openid-configuration HTTP/1.1\r\n" + line + CLOSE + b"\r\n")
    assert statuses(said) == [400]


@pytest.fixture(scope="module")
def machine(server: Server) -> bytes:
    """The Authorization line of a client whose request is granted when its framing is sound."""
    created = server.run_json("clients", "create", "Nightly export", "--type", "machine")
    pair = f"{created['client_id']}:{created['client_secret']}".encode()
    return b"Authorization: Basic " + base64.b64encode(pair) + b"\r\n"


WISH = b"grant_type=client_credentials"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(WISH), WISH)


def ask_for_token(server: Server, machine: bytes, framing: bytes, body: bytes) -> bytes:
    """What the server says to a token request in this framing, with another request right behind it."""
    behind = b"GET /.well-known/jwks.json HTTP/1.1\r\n" + host(server) + CLOSE + b"\r\n"
    head = b"POST /oauth/token HTTP/1.1\r\n" + host(server) + machine + FORM + framing + b"\r\n"
    return exchange(server, head + body + behind)


def test_both_requests_are_answered_when_the_framing_is_sound(server: Server, machine: bytes) -> None:
    said = ask_for_token(server, machine, b"Content-Length: %d\r\n" % len(WISH), WISH)
    assert statuses(said) == [200, 200]


@pytest.mark.spec("RFC 9112 §6.1")
@pytest.mark.spec("RFC 9112 §6.3")
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
        (b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n" % len(CHUNKED), CHUNKED),
        (b"Transfer-Encoding: chunked\r\n", CHUNKED),
        (b"Transfer-Encoding: gzip, chunked\r\n", CHUNKED),
        (b"Content-Length: 4\r\nTransfer_Encoding: x\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
        (b"Content-Length: %d\r\nTransfer-Encoding: xchunked\r\n" % len(WISH), WISH),
        (b"Content-Length: %d\r\nTransfer-Encoding: identity\r\n" % len(WISH), WISH),
        (b"Content-Length: %d\r\nTransfer-Encoding:\r\n" % len(WISH), WISH),
        (b"Content-Length: %d\r\nContent-Length: %d\r\n" % (len(WISH), len(WISH) + 1), WISH),
        (b"Content-Length: +%d\r\n" % len(WISH), WISH),
        (b"Content-Length: %d, %d\r\n" % (len(WISH), len(WISH)), WISH),
    ],
    ids=[
        "CL.TE",
        "TE.CL",
        "TE alone",
        "TE list",
        "masked TE",
        "xchunked",
        "identity",
        "TE empty",
        "two lengths",
        "signed length",
        "length list",
    ],
)
def test_body_is_refused_when_its_length_is_ambiguous(
    server: Server, machine: bytes, framing: bytes, body: bytes
) -> None:
    answered = statuses(ask_for_token(server, machine, framing, body))
    assert len(answered) == 1, "the bytes after the body were taken for a second request"
    assert answered[0] in {400, 411, 501}


@pytest.mark.parametrize(
    "path", ["/", "/oauth/token", "/oauth/authorize", "/.well-known/jwks.json", "/login", "/no/such"]
)
def test_trace_is_refused_everywhere(server: Server, path: str) -> None:
    head = f"TRACE {path} HTTP/1.1\r\n".encode() + host(server) + b"Cookie: secret=1\r\n" + CLOSE + b"\r\n"
    said = exchange(server, head)
    assert statuses(said) == [405]
    assert b"secret=1" not in said


@pytest.mark.parametrize(
    "line",
    [
        b"OPTIONS * HTTP/1.1",
        b"GET //evil.example/%2e%2e HTTP/1.1",
        b"GET /%00 HTTP/1.1",
        b"GET /%ff%fe HTTP/1.1",
        b"GET /static/%2e%2e/%2e%2e/pyproject.toml HTTP/1.1",
        b"GET /static/..%2f..%2fpyproject.toml HTTP/1.1",
        b"PROPFIND / HTTP/1.1",
        b"GET http://evil.example/.well-known/jwks.json HTTP/1.1",
    ],
)
def test_server_never_breaks_when_the_target_is_odd(server: Server, line: bytes) -> None:
    said = exchange(server, line + b"\r\n" + host(server) + CLOSE + b"\r\n")
    assert all(status < 500 for status in statuses(said))
    assert b"[project]" not in said


def test_body_is_refused_when_it_is_huge(server: Server) -> None:
    head = b"POST /oauth/token HTTP/1.1\r\n" + host(server) + FORM + b"Content-Length: 1073741824\r\n" + CLOSE + b"\r\n"
    said = exchange(server, head + b"a=" + b"b" * 4096)
    assert statuses(said) == [413]


PAGES = ("/.well-known/openid-configuration", "/oauth/authorize?client_id=nobody", "/login", "/")


def test_request_is_misdirected_when_the_host_is_a_stranger_s(server: Server) -> None:
    for path in PAGES:
        address = f"http://127.0.0.1:{server.port}{path}"
        answer = requests.get(address, headers={"Host": "evil.example"}, allow_redirects=False, timeout=10)
        assert answer.status_code == 421
        assert "evil.example" not in answer.text


def test_urls_come_from_the_issuer_when_the_host_lies(server: Server) -> None:
    forged = {"Host": "127.0.0.1:1", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    forged["Forwarded"] = "host=evil.example;proto=https"
    for path in PAGES:
        answer = requests.get(
            f"http://127.0.0.1:{server.port}{path}", headers=forged, allow_redirects=False, timeout=10
        )
        assert answer.status_code in {200, 302, 303, 400}
        for lie in ("evil.example", "127.0.0.1:1/"):
            assert lie not in answer.text
            assert lie not in answer.headers.get("Location", "")


def recorded_address(server: Server, forwarded_for: str) -> str:
    """The address that the audit log records when a sign-in fails behind this X-Forwarded-For."""
    account, client = create_account(server), create_client(server)
    person = account.at_a_browser()
    person.password = "certainly not the password"
    person.session.headers["X-Forwarded-For"] = forwarded_for
    query = {"client_id": client.client_id, "redirect_uri": client.redirect_uri, "response_type": "code"}
    query |= {"scope": SCOPE, "code_challenge": "a" * 43, "code_challenge_method": "S256"}
    url = requests.Request("GET", server.url("/oauth/authorize"), params=query).prepare().url
    assert url is not None
    with suppress(AssertionError):
        person.walk(url, client.redirect_uri)
    return newest_failed_login_address(server)


def newest_failed_login_address(server: Server) -> str:
    import sqlite3

    connection = sqlite3.connect(server.directory / "gatepost.sqlite")
    try:
        found = connection.execute(
            "SELECT ip FROM audit_events WHERE event LIKE '%fail%' ORDER BY rowid DESC LIMIT 1"
        ).fetchone()
    finally:
        connection.close()
    assert found is not None, "a failed sign-in left no audit row"
    return str(found[0])


def test_forwarded_address_is_ignored_when_nobody_is_trusted(server: Server) -> None:
    assert recorded_address(server, "203.0.113.7") == "127.0.0.1"


def test_forwarded_address_is_believed_when_the_proxy_is_trusted(
    start: Callable[..., Server],
) -> None:
    server = start("serve", settings={"GATEPOST_TRUSTED_PROXIES": "127.0.0.0/8"})
    assert recorded_address(server, "198.51.100.1, 203.0.113.7") == "203.0.113.7"


def test_request_in_flight_is_answered_when_the_server_is_told_to_stop(start: Callable[..., Server]) -> None:
    server = start("serve")
    body = b"grant_type=client_credentials"
    head = b"POST /oauth/token HTTP/1.1\r\n" + host(server) + FORM + f"Content-Length: {len(body)}\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head + b"Expect: 100-continue\r\n" + CLOSE + b"\r\n")
        # Said when the body is wanted: from now on the request is under way.
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body[:-1])
        os.kill(server.process.pid, signal.SIGTERM)
        is_refused = False
        while not is_refused:
            with socket.socket() as probe:
                is_refused = probe.connect_ex(("127.0.0.1", server.port)) == errno.ECONNREFUSED
        connection.sendall(body[-1:])
        said = b""
        while part := connection.recv(65536):
            said += part
    assert statuses(said) == [401]
    assert server.process.wait(20) == 0


def test_server_stops_at_once_when_connections_are_idle(start: Callable[..., Server]) -> None:
    server = start("serve")
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(4)]
    for connection in idle:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + host(server) + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    os.kill(server.process.pid, signal.SIGINT)
    assert server.process.wait(10) == 0
    for connection in idle:
        connection.close()


def test_second_server_refuses_to_start_when_the_port_is_taken(start: Callable[..., Server]) -> None:
    first = start("serve")
    with pytest.raises(ServerFailed, match=f"Port {first.port} .* is in use") as refused:
        first.run("serve")
    assert "Traceback" not in str(refused.value)


def test_healthy_requests_are_answered_when_a_client_withholds_its_body(start: Callable[..., Server]) -> None:
    server = start("serve", workers=1)
    head = b"POST /oauth/token HTTP/1.1\r\n" + host(server) + FORM + b"Content-Length: 100\r\n\r\n"
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(3)]
    try:
        for connection in slow:
            connection.sendall(head + b"grant_type=")
        time.sleep(0.3)
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda: answers.append(requests.get(server.url("/healthz"), timeout=5).status_code))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [200] * 4
    finally:
        for connection in slow:
            connection.close()
