"""A wire to PostgreSQL that can be cut at the worst moment: while something that was spent is being committed.

The proxy understands just enough of PostgreSQL's protocol to know where a round trip ends and which statements it
carries, prepared ones too. Armed, it cuts the next round trip that spends or commits, in one of three ways.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from typing import Final, Literal
from urllib.parse import urlsplit

Cut = Literal["before", "during", "after"]
#: before: PostgreSQL never hears of it. during: it hears of it and nobody waits. after: it did it and cannot say so.
CUTS: Final[tuple[Cut, ...]] = ("before", "during", "after")
_SPENDS: Final = re.compile(r"^\s*COMMIT\b|UPDATE (authorization_codes|refresh_tokens)\b", re.IGNORECASE)
_ENCRYPTION_REQUESTS: Final = {80877103, 80877104}


class Wire:
    """Accepts connections on `port` and passes them on, until it is closed."""

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        self._target = (str(parts.hostname), int(parts.port or 5432))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.database_url = database_url.replace(f":{self._target[1]}/", f":{self.port}/")
        self._lock = threading.Lock()
        self._armed: Cut | None = None
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, how: Cut) -> None:
        """The next round trip that spends or commits is cut."""
        with self._lock:
            self._armed = how

    def disarm(self) -> bool:
        """Nothing is cut any more; whether something was since it was armed."""
        with self._lock:
            was_cut, self._armed = self._armed is None, None
            return was_cut

    def take(self, statements: list[str]) -> Cut | None:
        """How this round trip is to be cut, if it is."""
        if not any(_SPENDS.search(statement) for statement in statements):
            return None
        with self._lock:
            how, self._armed = self._armed, None
            self.cuts += how is not None
            return how

    def close(self) -> None:
        """Accepts no more."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                _Link(self, client, socket.create_connection(self._target))


class _Link:
    """One connection through the wire."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self._wire, self._client, self._server = wire, client, server
        self._prepared: dict[bytes, str] = {}
        self._is_muted = False
        for pump in (self._forwards, self._backwards):
            threading.Thread(target=self._until_it_ends, args=(pump,), daemon=True).start()

    def _until_it_ends(self, pump: object) -> None:
        assert callable(pump)
        with contextlib.suppress(OSError, EOFError):
            pump()
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _backwards(self) -> None:
        while answer := self._server.recv(65536):
            if self._is_muted:
                return
            self._client.sendall(answer)

    def _forwards(self) -> None:
        self._open()
        trip, statements = b"", list[str]()
        while True:
            kind = self._exactly(1)
            length = self._exactly(4)
            payload = self._exactly(struct.unpack("!I", length)[0] - 4)
            trip += kind + length + payload
            statements += self._statements(kind, payload)
            if kind in b"PBDEC":
                continue
            how = self._wire.take(statements)
            if how == "before":
                return
            self._is_muted = how == "after"
            self._server.sendall(trip)
            if how == "during":
                return
            trip, statements = b"", []

    def _open(self) -> None:
        """Refuses encryption and passes the first message on."""
        while True:
            length = self._exactly(4)
            payload = self._exactly(struct.unpack("!I", length)[0] - 4)
            if struct.unpack("!I", payload[:4])[0] not in _ENCRYPTION_REQUESTS:
                self._server.sendall(length + payload)
                return
            self._client.sendall(b"N")

    def _statements(self, kind: bytes, payload: bytes) -> list[str]:
        """What a message has executed: simple queries, and what is bound of the statements that were parsed."""
        if kind == b"Q":
            return [payload.rstrip(b"\0").decode()]
        if kind == b"P":
            name, text, _ = payload.split(b"\0", 2)
            self._prepared[name] = text.decode()
        if kind == b"B":
            return [self._prepared.get(payload.split(b"\0", 2)[1], "")]
        return []

    def _exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            more = self._client.recv(count - len(received))
            if not more:
                raise EOFError
            received += more
        return received
