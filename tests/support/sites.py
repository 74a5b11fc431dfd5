"""Other people's web servers: what clients' URLs lead to, speaking TLS or not, as well or as badly as a test wants."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from server.infra.certificates import CertificateAuthority

#: Bytes to send, piece by piece, for the head of a request and its body.
Respond = Callable[[str, bytes], Iterable[bytes]]


@dataclass
class Site:
    """A server that runs, and what it was asked."""

    port: int
    authority: Path | None
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    #: The name that each connection asked for before it was encrypted.
    server_names: list[str | None] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str = "/", host: str = "localhost") -> str:
        """The address of one of its pages."""
        return f"{'http' if self.authority is None else 'https'}://{host}:{self.port}{path}"


def answer(body: bytes, content_type: str = "application/json", status: str = "200 OK", *more: str) -> bytes:
    """A plain answer with its length."""
    head = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@contextmanager
def site(respond: Respond, folder: Path | None = None, *, names: Iterable[str] = ("localhost",)) -> Iterator[Site]:
    """A server on 127.0.0.1 until the context ends; with TLS under `names` when there is a folder for certificates."""
    listener = socket.create_server(("127.0.0.1", 0))
    found = Site(listener.getsockname()[1], None if folder is None else folder / "ca.pem")
    context = None if folder is None else _tls(folder, tuple(names), found)
    accepting = threading.Thread(target=_accept, args=(listener, context, respond, found), daemon=True)
    accepting.start()
    try:
        yield found
    finally:
        # A thread that waits in accept() hears of it only so.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(5)


def _tls(folder: Path, names: tuple[str, ...], found: Site) -> ssl.SSLContext:
    certificate = CertificateAuthority(folder, datetime.now(UTC)).certificate_for("site", names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)

    def note(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        found.server_names.append(name)

    context.sni_callback = note
    return context


def _accept(listener: socket.socket, context: ssl.SSLContext | None, respond: Respond, found: Site) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        found.connections += 1
        threading.Thread(target=_serve, args=(connection, context, respond, found), daemon=True).start()


def _serve(connection: socket.socket, context: ssl.SSLContext | None, respond: Respond, found: Site) -> None:
    with suppress(OSError), connection:
        connection.settimeout(30)
        stream = connection if context is None else context.wrap_socket(connection, server_side=True)
        with stream:
            head, body = _received(stream)
            found.heads.append(head)
            found.bodies.append(body)
            for piece in respond(head, body):
                stream.sendall(piece)


def _received(stream: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = stream.recv(65536)
        if not piece:
            break
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += stream.recv(65536)
    return head.decode("latin-1"), body
