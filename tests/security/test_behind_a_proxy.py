"""Behind a real nginx that caches whatever it may, and over raw sockets through it and past it."""

import re
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from tests.security.reverse_proxy import caching_proxy
from tests.support.flow import form_fields
from tests.support.ports import free_port
from tests.support.servers import Server, start_server

pytestmark = pytest.mark.slow

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    """A server, and the port of the nginx before it."""
    folder = tmp_path_factory.mktemp("proxied")
    port = free_port()
    with caching_proxy(folder / "nginx", port) as outside:
        settings = {"GATEPOST_ISSUER": f"http://localhost:{outside}", "GATEPOST_TRUSTED_PROXIES": "127.0.0.1/32"}
        with start_server(folder / "server", "serve", port=port, settings=settings) as server:
            arguments = ("users", "create", "ada@example.com", "--name", "Ada Example", "--password-stdin")
            server.run(*arguments, stdin=PASSWORD)
            yield server, outside


def signed_in(base: str) -> requests.Session:
    browser = requests.Session()
    form = form_fields(browser.get(f"{base}/login", timeout=10).text)
    form |= {"username": "ada@example.com", "password": PASSWORD}
    answer = browser.post(f"{base}/login", data=form, timeout=10, allow_redirects=False)
    assert answer.status_code == 303, answer.text
    return browser


@pytest.mark.spec("S-10")
def test_page_of_one_person_is_never_shown_to_another_when_a_proxy_caches(deployment: tuple[Server, int]) -> None:
    base = f"http://localhost:{deployment[1]}"
    ada = signed_in(base)
    for path in ("/", "/logout", "/x.css", "/logout/x.css", "/static/../logout", "/;.css"):
        for _ in range(2):
            mine = ada.get(base + path, timeout=10)
            theirs = requests.get(base + path, timeout=10)
            assert mine.headers["X-Cache"] != "HIT", path
            assert theirs.headers["X-Cache"] != "HIT", path
            assert "Ada" not in theirs.text, path
            assert "Set-Cookie" not in theirs.headers, path
    assert "Ada Example" in ada.get(f"{base}/", timeout=10).text


@pytest.mark.spec("S-10")
def test_what_is_public_is_kept_when_a_proxy_caches(deployment: tuple[Server, int]) -> None:
    """Shows that the proxy of these tests does cache."""
    base = f"http://localhost:{deployment[1]}"
    for path in ("/static/gatepost.css", "/.well-known/jwks.json", "/.well-known/openid-configuration"):
        found = [requests.get(base + path, timeout=10).headers["X-Cache"] for _ in range(3)]
        assert found[-1] == "HIT", path


def exchange(port: int, data: bytes, seconds: float = 20) -> bytes:
    """Everything that is said to these bytes until the other side closes or falls silent."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        with suppress(TimeoutError, ConnectionResetError):
            while part := connection.recv(65536):
                said += part
    return said


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", said)]


HIDDEN = b"GET /static/mark.svg HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CHUNKS, TE = b"0\r\n\r\n", b"Transfer-Encoding: chunked\r\n"
SMUGGLING = {
    "CL.TE": b"Content-Length: %d\r\n" % (len(CHUNKS) + len(HIDDEN)) + TE + b"\r\n" + CHUNKS + HIDDEN,
    "TE.CL": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN),
    "TE.TE": TE + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n" + CHUNKS + HIDDEN,
    "TE with a space": b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n" + CHUNKS + HIDDEN,
    "TE with a tab": b"Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n" + CHUNKS + HIDDEN,
    "TE with vertical tab": b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n" + CHUNKS + HIDDEN,
    "TE folded": b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n" + CHUNKS + HIDDEN,
    "TE underscored": b"Transfer_Encoding: chunked\r\nContent-Length: 0\r\n" + TE + b"\r\n" + CHUNKS + HIDDEN,
    "two lengths": b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "length in a list": b"Content-Length: 0, %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "signed length": b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "hexadecimal length": b"Content-Length: 0x0\r\n\r\n" + HIDDEN,
    "negative length": b"Content-Length: -1\r\n\r\n" + HIDDEN,
    "length folded": b"Content-Length:\r\n 0\r\n\r\n" + HIDDEN,
    "length with a space": b"Content-Length : 0\r\n\r\n" + HIDDEN,
    "folded header": b"X-A: b\r\n Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % 5 + HIDDEN,
    "bare line feeds": b"Content-Length: 0\nTransfer-Encoding: chunked\n\n" + CHUNKS + HIDDEN,
    "NUL in a name": b"Content\x00-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS + HIDDEN,
    "chunk extension": b"Transfer-Encoding: chunked\r\n\r\n0;a=\n\r\n\r\n" + HIDDEN,
    "chunk size overflow": b"Transfer-Encoding: chunked\r\n\r\n100000000000000000\r\n\r\n" + HIDDEN,
}  # fmt: skip


@pytest.mark.parametrize("through", ["server", "proxy"])
@pytest.mark.parametrize("case", SMUGGLING)
@pytest.mark.spec("H-04", "RFC 9112 §6.3", "RFC 9112 §11.2")
def test_hidden_request_is_not_answered_when_its_framing_is_in_doubt(
    deployment: tuple[Server, int], case: str, through: str
) -> None:
    server, outside = deployment
    port = server.port if through == "server" else outside
    head = (
        b"POST /oauth/revoke HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        % port
    )
    # Where the rest of a body is waited for, nothing is said.
    said = exchange(port, head + SMUGGLING[case], seconds=1.5)
    # What comes after a body that nginx found sound is a request of the same client, which nginx reads for itself.
    if through == "server":
        assert b"<svg" not in said
        assert len(statuses(said)) <= 1, statuses(said)
    assert all(status < 500 or status == 501 for status in statuses(said)), statuses(said)
    assert 200 not in statuses(said)[:1]


UNDERSCORED = (b"X_Forwarded_For: 192.0.2.66\r\n", b"X-Forwarded-For: 127.0.0.1\r\nX_Forwarded_For: 192.0.2.66\r\n")


@pytest.mark.parametrize("lines", UNDERSCORED)
@pytest.mark.spec("H-04", "H-03")
def test_header_with_underscores_does_not_reach_the_server_when_a_proxy_stands_before_it(
    deployment: tuple[Server, int], lines: bytes
) -> None:
    server, outside = deployment
    head = b"POST /oauth/revoke HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n" % outside
    form = FORM + b"Content-Length: 44\r\n\r\ntoken=x&client_id=nobody&client_secret=wrong"
    assert statuses(exchange(outside, head + lines + form)) == [401]
    assert "192.0.2.66" not in server.run("audit", "tail", "--json")


@pytest.mark.spec("C-07")
def test_server_does_not_say_what_it_is_made_of(deployment: tuple[Server, int]) -> None:
    port = deployment[0].port
    for line in (b"GET / HTTP/1.1", b"GET /nope HTTP/1.1", b"TRACE / HTTP/1.1", b"GET /healthz HTTP/1.1", b"X"):
        said = exchange(port, line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n").lower()
        for name in (b"granian", b"hyper", b"flask", b"werkzeug", b"python", b"nginx", b"x-powered-by"):
            assert name not in said.partition(b"\r\n\r\n")[0], (line, name)
