"""A TCP path that a test can break: between a server and its database, for example."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress

_TO_ACT_SECONDS = 0.1


class TcpProxy:
    """Passes bytes between a port of its own and `target`; a black hole swallows them and tells nobody."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._passes = threading.Event()
        self._passes.set()
        self._delay = 0.0
        self._pieces_left: int | None = None
        self._containing = b""
        self._is_closed = threading.Event()
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def black_hole(self) -> None:
        """From now on nothing arrives; connections stay open, and new ones are taken."""
        self._passes.clear()

    def heal(self) -> None:
        """Everything passes again, what was held back first."""
        self._passes.set()

    def delay(self, seconds: float) -> None:
        """Holds each piece up for so long."""
        self._delay = seconds

    def cut_after(self, pieces: int, containing: bytes = b"") -> None:
        """Breaks every connection when the target has got so many more such pieces, before it answers; 0: no more."""
        self._containing = containing
        self._pieces_left = pieces or None

    def cut(self) -> None:
        """Breaks every connection that passes through now."""
        for end in list(self._sockets):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends it, and every connection through it."""
        self._is_closed.set()
        self._passes.set()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._is_closed.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near:
            self._passes.wait()
            try:
                far = socket.create_connection(self._target)
            except OSError:
                return
            with far:
                self._sockets |= {near, far}
                with suppress(OSError):
                    self._pass_on(near, far)
                self._sockets -= {near, far}

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        while not self._is_closed.is_set():
            for end in select.select([near, far], [], [])[0]:
                piece = end.recv(65536)
                if self._delay:
                    self._is_closed.wait(self._delay)
                self._passes.wait()
                if not piece:
                    return
                (far if end is near else near).sendall(piece)
                if end is near and self._is_the_last(piece):
                    # The target has it and acts on it; only the answer is lost.
                    self._is_closed.wait(_TO_ACT_SECONDS)
                    self.cut()

    def _is_the_last(self, piece: bytes) -> bool:
        if self._pieces_left is None or self._containing not in piece:
            return False
        self._pieces_left -= 1
        if self._pieces_left > 0:
            return False
        self._pieces_left = None
        return True
