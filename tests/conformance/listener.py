"""The client's own web server: answers over TLS 1.3 on this machine, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from server.infra.certificates import CertificateAuthority


@dataclass(frozen=True)
class Received:
    """One request that came."""

    method: str
    path: str
    content_type: str
    body: str
    tls: str | None


class Listener:
    """Serves `documents` by path; whatever else is asked for is 404, and a POST is 204."""

    def __init__(self, folder: Path) -> None:
        """Listens with a certificate of the authority in `folder`, which is made if it is not there."""
        authority = CertificateAuthority(folder, datetime.now(UTC))
        certificate = authority.certificate_for("listener", ["localhost", "127.0.0.1"])
        self.authority = authority.path
        self.documents: dict[str, tuple[str, bytes]] = {}
        self.received: list[Received] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate.chain, certificate.key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.server_address[1])

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"https://localhost:{self.port}{path}"

    def serve(self, path: str, document: Any, content_type: str = "application/json") -> str:
        """Answers `path` with a document from now on; returns its address."""
        if not isinstance(document, bytes):
            document = (document if isinstance(document, str) else json.dumps(document)).encode()
        self.documents[path] = (content_type, document)
        return self.url(path)

    def requests(self, path: str) -> list[Received]:
        """What came for `path`."""
        return [request for request in self.received if request.path == path]

    def __enter__(self) -> Listener:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _handler(listener) -> type[BaseHTTPRequestHandler]:  # noqa: N805 -- `self` is the handler's below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._remember("GET", "")
                self._answer(404)

            def do_POST(self) -> None:
                self._remember("POST", self.rfile.read(int(self.headers["Content-Length"])).decode())
                self._answer(204)

            def _answer(self, otherwise: int) -> None:
                found = listener.documents.get(self.path.partition("?")[0])
                content_type, body = found or ("text/plain", b"")
                self.send_response(200 if found else otherwise)
                self.send_header("Content-Type", content_type)
                if found or otherwise != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _remember(self, method: str, body: str) -> None:
                tls = self.connection.version() if isinstance(self.connection, ssl.SSLSocket) else None
                content_type = self.headers.get("Content-Type", "")
                listener.received.append(Received(method, self.path.partition("?")[0], content_type, body, tls))

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        return Handler
