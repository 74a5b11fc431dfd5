"""The load generator: one process, one thread, so many keep-alive connections, each with one request under way.

It speaks to 127.0.0.1 only and ends after so many seconds or requests, whichever comes first.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.http import Answer, Source

#: How long an answer may take before the run is given up.
PATIENCE_SECONDS = 30.0


class LoadFailed(Exception):
    """The server stopped answering, or does not speak HTTP as expected."""


@dataclass(frozen=True)
class Limits:
    """When to stop."""

    seconds: float
    requests: int
    connections: int = 16


@dataclass
class Outcome:
    """What a run saw."""

    answers: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    #: One answer with an unexpected status, to show.
    unexpected: Answer | None = None
    #: The last one with the expected status.
    expected: Answer | None = None

    def percentile_ms(self, percent: float) -> float:
        """The latency that so many percent of the answers kept within, in milliseconds."""
        return percentile(self.latencies, percent) * 1000


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent do not exceed; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def run(port: int, source: Source, limits: Limits, expected: int = 200, keep: list[Answer] | None = None) -> Outcome:
    """Sends what `source` gives until a limit is reached and every answer is there.

    Args:
        port: of 127.0.0.1.
        source: gives each connection its next request.
        limits: when to stop, and how many connections to use.
        expected: the status that is right; others are counted as well and one is kept to show.
        keep: gets every answer, for runs that prepare another.

    Raises:
        LoadFailed: when no answer comes for half a minute.
    """
    return _Run(port, source, limits, expected, keep).run()


class Pace:
    """Requests sent at a steady rate beside a run, each on a connection of its own."""

    def __init__(self, port: int, requests: list[bytes], per_second: float, expected: int) -> None:
        self._port, self._requests, self._interval, self._expected = port, requests, 1 / per_second, expected
        self._stopped = threading.Event()
        #: The beginnings of answers with another status.
        self.wrong: list[bytes] = []

    def run(self) -> None:
        """Sends until stopped, or until there are no more; the thread's work."""
        connections = []
        for request in self._requests:
            if self._stopped.wait(self._interval):
                break
            connection = _Connection(0, self._port)
            connection.send(request)
            connections.append(connection)
        for connection in connections:
            line = connection.socket.recv(64)
            if line[9:12] != str(self._expected).encode():
                self.wrong.append(line)
            connection.socket.close()

    def stop(self) -> None:
        """Ends it after the answers to what was sent."""
        self._stopped.set()


class _Connection:
    def __init__(self, number: int, port: int) -> None:
        self.number = number
        self.port = port
        self.sent_at = 0.0
        self.buffer = b""
        self.open()

    def open(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> None:
        self.buffer = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)


class _Run:
    def __init__(self, port: int, source: Source, limits: Limits, expected: int, keep: list[Answer] | None) -> None:
        self.source, self.limits, self.expected, self.keep = source, limits, expected, keep
        self.outcome = Outcome()
        self.sent = 0
        self.poll = select.epoll()
        self.connections = [_Connection(number, port) for number in range(limits.connections)]
        self.by_descriptor: dict[int, _Connection] = {}

    def run(self) -> Outcome:
        began = time.perf_counter()
        self.deadline = began + self.limits.seconds
        try:
            for connection in self.connections:
                self._register(connection)
                self._send_next(connection, None)
            while self.outcome.answers < self.sent:
                ready = self.poll.poll(PATIENCE_SECONDS)
                if not ready:
                    raise LoadFailed(f"no answer for {PATIENCE_SECONDS:.0f} s, after {self.outcome.answers}")
                for descriptor, _events in ready:
                    self._receive(self.by_descriptor[descriptor])
        finally:
            self.poll.close()
            for connection in self.connections:
                connection.socket.close()
        self.outcome.seconds = time.perf_counter() - began
        return self.outcome

    def _register(self, connection: _Connection) -> None:
        self.by_descriptor[connection.socket.fileno()] = connection
        self.poll.register(connection.socket, select.EPOLLIN)

    def _send_next(self, connection: _Connection, answer: Answer | None) -> None:
        if self.sent >= self.limits.requests or time.perf_counter() >= self.deadline:
            # A source with chains must still learn how this one went on.
            if answer is not None:
                self.source(connection.number, answer)
            return
        request = self.source(connection.number, answer)
        if request is not None:
            self.sent += 1
            connection.send(request)

    def _receive(self, connection: _Connection) -> None:
        data = connection.socket.recv(65536)
        connection.buffer += data
        answer = _parse(connection.buffer, ended=not data)
        if answer is None:
            if not data:
                raise LoadFailed(f"the connection was closed after {connection.buffer[:200]!r}")
            return
        self.outcome.latencies.append(time.perf_counter() - connection.sent_at)
        self.outcome.answers += 1
        self.outcome.statuses[answer.status] += 1
        if answer.status == self.expected:
            self.outcome.expected = answer
        elif self.outcome.unexpected is None:
            self.outcome.unexpected = answer
        if self.keep is not None:
            self.keep.append(answer)
        if b"\nconnection: close" in answer.head.lower():
            self._reopen(connection)
        # What a source follows must be right; a wrong answer is counted, and the same is sent again.
        self._send_next(connection, answer if answer.status == self.expected else None)

    def _reopen(self, connection: _Connection) -> None:
        self.poll.unregister(connection.socket)
        del self.by_descriptor[connection.socket.fileno()]
        connection.socket.close()
        connection.open()
        self._register(connection)


def _parse(data: bytes, *, ended: bool) -> Answer | None:
    """The answer, or None when some of it is still to come."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    status = int(head[9:12])
    lower = head.lower()
    at = lower.find(b"\ncontent-length:")
    if at >= 0:
        length = int(lower[at + 16 : (lower.find(b"\r", at) + 1 or len(lower) + 1) - 1])
        return Answer(status, head, body) if len(body) >= length else None
    if b"\ntransfer-encoding: chunked" in lower:
        return Answer(status, head, _unchunked(body)) if body.endswith(b"0\r\n\r\n") else None
    return Answer(status, head, body) if ended or status in {204, 304} else None


def _unchunked(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        parts.append(rest[:length])
        body = rest[length + 2 :] if length else b""
    return b"".join(parts)
