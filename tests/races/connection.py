"""Raw HTTP/1.1 over kept-alive sockets, with a request's last byte held back for as long as a race needs.

A race is only one when its requests meet inside the server. `hold` sends everything but the last byte of the body,
`release` sends that byte, `answer` reads the response; between the first two any number of connections can line up.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

#: The server closes idle connections after ten seconds; ours are opened anew before that.
_IDLE_SECONDS = 4.0
DROPPED = 0
_LENGTH = re.compile(r"^content-length: *([0-9]+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """One response: status (0 when the connection broke), the headers' text, and the raw body."""

    status: int
    body: bytes
    head: str = ""

    @functools.cached_property
    def members(self) -> dict[str, object]:
        """The JSON object of the body, empty when it is none."""
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    @functools.cached_property
    def outcome(self) -> str:
        """Status and error code, for counting."""
        return f"{self.status} {self.members.get('error', '')}".strip()

    def header(self, name: str) -> str:
        """A header's value, empty when it is not there."""
        for line in self.head.split("\r\n")[1:]:
            found, _, value = line.partition(":")
            if found.lower() == name.lower():
                return value.strip()
        return ""


def basic(client_id: str, client_secret: str) -> str:
    """The Authorization header's value for client_secret_basic (RFC 6749 §2.3.1)."""
    pair = f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def request(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """The bytes of one request; the connection stays open after it."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {path or '/'} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def post_request(url: str, form: Mapping[str, str], authorization: str | None) -> bytes:
    """The bytes of a form post, as a client with these credentials or as a public one."""
    headers = {"Authorization": authorization} if authorization else {}
    return request("POST", url, headers, urlencode(form).encode())


class Connection:
    """One connection to one replica, opened when first needed and again whenever it was lost."""

    def __init__(self, port: int, timeout: float = 60.0) -> None:
        self.port, self.timeout = port, timeout
        self._socket: socket.socket | None = None
        self._used_at = 0.0
        self._held = b""

    def __del__(self) -> None:
        self.close()

    def open(self) -> None:
        """Connects unless it is connected already. Raises OSError when nobody listens."""
        if self._socket is not None and time.monotonic() - self._used_at > _IDLE_SECONDS:
            self.close()
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), self.timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._used_at = time.monotonic()

    def hold(self, message: bytes) -> None:
        """Sends all but the last byte."""
        self.open()
        assert self._socket is not None
        self._socket.sendall(message[:-1])
        self._held = message[-1:]

    def release(self) -> None:
        """Sends the byte that was held back."""
        assert self._socket is not None
        with contextlib.suppress(OSError):
            self._socket.sendall(self._held)

    def answer(self) -> Answer:
        """Reads the response; a broken connection is an answer of status 0."""
        assert self._socket is not None
        try:
            found = self._read(self._socket)
        except (OSError, ValueError, IndexError) as error:
            self.close()
            return Answer(DROPPED, repr(error).encode())
        self._used_at = time.monotonic()
        if found.header("connection").lower() == "close":
            self.close()
        return found

    def exchange(self, message: bytes) -> Answer:
        """Sends a request and reads its response; 0 when there is nobody to send it to."""
        try:
            self.open()
            assert self._socket is not None
            self._socket.sendall(message)
        except OSError as error:
            self.close()
            return Answer(DROPPED, repr(error).encode())
        return self.answer()

    def send_only(self, message: bytes) -> None:
        """Sends a request whose answer nobody reads, and does not wait for the server to finish it."""
        self.open()
        assert self._socket is not None
        self._socket.sendall(message)

    def wait_for_answer(self) -> None:
        """Returns when the first bytes of the answer are here, which stay unread."""
        assert self._socket is not None
        with contextlib.suppress(OSError):
            self._socket.recv(1, socket.MSG_PEEK)

    def close(self) -> None:
        """Hangs up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @staticmethod
    def _read(stream: socket.socket) -> Answer:
        received = b""
        while b"\r\n\r\n" not in received:
            received += _some(stream)
        raw_head, _, body = received.partition(b"\r\n\r\n")
        head = raw_head.decode("latin-1")
        status = int(head.split(" ", 2)[1])
        length = int(found[1]) if (found := _LENGTH.search(head)) else 0
        while len(body) < length:
            body += _some(stream)
        return Answer(status, body, head)


def _some(stream: socket.socket) -> bytes:
    received = stream.recv(65536)
    if not received:
        raise ConnectionResetError("the server hung up")
    return received
