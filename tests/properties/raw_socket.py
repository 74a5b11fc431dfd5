"""Anything over a real connection to `gatepost serve`: bytes that are no HTTP, and HTTP with faults put in."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.properties.malformed import HEADERS, METHODS, SECONDS, Tally, encoded, headers
from tests.properties.oracle import CANARY
from tests.properties.wire import WireRequest
from tests.support.servers import Server

#: A server that waits for more of a request is not slow: this long is its peer waited for.
_PATIENCE = 0.4
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
PATHS = (
    *("/oauth/authorize", "/oauth/token", "/oauth/userinfo", "/oauth/introspect", "/oauth/revoke", "/login", "/"),
    *(
        "/oauth/register",
        "/oauth/register/x",
        "/logout",
        "/oauth/check-session",
        "/client-logo/x",
        "/login",
        "/consent",
    ),
    *("/.well-known/openid-configuration", "/.well-known/jwks.json", "/healthz", f"/{CANARY}", "*", "", "//", "/%00"),
)
_requests = st.builds(
    WireRequest,
    method=st.sampled_from(("GET", "POST", "POST", *METHODS)),
    path=st.sampled_from(PATHS),
    query=encoded,
    headers=headers,
    body=encoded.map(lambda text: text.encode("latin-1", "replace")),
)
_splices = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.one_of(
            st.binary(max_size=12),
            st.sampled_from((b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\r\n\r\n", b"HTTP/9.9", b"\xff" * 40)),
            st.sampled_from([f"\r\n{name}: {CANARY}\r\n".encode() for name in HEADERS]),
            st.just(b"\r\nTransfer-Encoding: chunked\r\n"),
            st.just(b"\r\nContent-Length: 5\r\n"),
            st.just(b"\r\nX: " + CANARY.encode() * 20_000 + b"\r\n"),
        ),
        st.integers(0, 30),
    ),
    max_size=3,
)


def splice(data: bytes, changes: list[tuple[float, bytes, int]]) -> bytes:
    """Puts bytes at places of a message, in the stead of some that stood there."""
    for place, inserted, removed in changes:
        at = int(place * len(data))
        data = data[:at] + inserted + data[at + removed :]
    return data


messages = st.one_of(
    st.binary(max_size=300),
    _requests.map(WireRequest.as_bytes),
    st.tuples(_requests.map(WireRequest.as_bytes), _splices).map(lambda pair: splice(*pair)),
)


def exchange(port: int, data: bytes) -> tuple[bytes, float]:
    """Sends bytes and everything that comes back, with the seconds until the first of it."""
    answer, first = b"", 0.0
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS * 5) as connection:
        started = time.monotonic()
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(_PATIENCE)
            while received := connection.recv(65536):
                first = first or time.monotonic() - started
                answer += received
                connection.settimeout(SECONDS * 5)
        except OSError:
            # Reset while it was still being sent, or waited for: both are answers.
            pass
    return answer, first


def resident_kib(pid: int) -> int:
    """The memory of a process and its children, in KiB."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        facts = dict(re.findall(r"^(Pid|PPid|VmRSS):\s+(\d+)", text, re.MULTILINE))
        if str(pid) in (facts.get("Pid"), facts.get("PPid")):
            total += int(facts.get("VmRSS", 0))
    return total


def send_bytes(server: Server, tally: Tally, examples: int, number: int | None = None) -> None:
    """Sends `examples` messages, each on a connection of its own.

    Raises:
        AssertionError: when an answer is a fault, gives input back, or takes longer than two seconds.
    """

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=number is None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(data=messages)
    def check(data: bytes) -> None:
        answer, seconds = exchange(server.port, data)
        for _ in range(4):
            # A machine under load is slow now and then; a parser that explodes is slow every time.
            if seconds > SECONDS:
                answer, again = exchange(server.port, data)
                seconds = min(seconds, again)
        status = _STATUS.match(answer)
        tally.count(int(status[1]) if status else 0, seconds)
        assert not answer or status, answer[:200]
        assert all(int(each) < 500 for each in _STATUS.findall(answer)), (data, answer[:500])
        shown = re.sub(rb"state=[^&\r\n]*", b"", re.sub(rb'<input\b[^>]*name="(?:username|state)"[^>]*>', b"", answer))
        assert CANARY.encode() not in shown, (data, answer[:2000])
        assert seconds <= SECONDS, (data, seconds)

    (check if number is None else seed(number)(check))()
    log = server.log.read_text(errors="replace")
    assert "Traceback" not in log, server.log_tail()
    assert "unhandled fault" not in log, server.log_tail()
    server.wait_until_healthy()
