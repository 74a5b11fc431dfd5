"""Requests as bytes on a wire: made by hand, so that nothing tidies them, and sent through the whole WSGI stack."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse, run_wsgi_app

HOST = "localhost:8000"


@dataclass(frozen=True)
class WireRequest:
    """One request. Text stands for bytes, as Latin-1, as in WSGI (PEP 3333)."""

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    peer: str = "127.0.0.1"

    def environ(self) -> dict[str, Any]:
        """What a server hands to the application; repeated headers are joined, as the production server does."""
        found: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path,
            "QUERY_STRING": self.query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": self.peer,
            "HTTP_HOST": HOST,
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        sent: dict[str, list[str]] = {}
        for name, value in self.headers:
            key = name.upper().replace("-", "_")
            sent.setdefault(key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}", []).append(value)
        for key, values in sent.items():
            found[key] = (";" if key == "HTTP_COOKIE" else ",").join(values)
        return found

    def as_bytes(self) -> bytes:
        """The same as HTTP/1.1, with whatever the fields hold."""
        target = self.path + (f"?{self.query}" if self.query else "")
        lines = [f"{self.method} {target} HTTP/1.1"]
        names = {name.lower() for name, _ in self.headers}
        if "host" not in names:
            lines.append(f"Host: {HOST}")
        if "content-length" not in names:
            lines.append(f"Content-Length: {len(self.body)}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace") + self.body


def send(app: Flask, request: WireRequest) -> TestResponse:
    """Sends a request through everything that stands before the application, nothing tidied."""
    wsgi: Callable[..., Iterable[bytes]] = app.wsgi_app
    iterable, status, headers = run_wsgi_app(wsgi, request.environ(), buffered=True)
    return TestResponse(iterable, status, headers, request=None)  # type: ignore[arg-type]
