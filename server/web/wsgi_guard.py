"""The outermost door: requests that HTTP parsers read in different ways never reach the application.

RFC 9112 §3.2: a request with no `Host`, or with two, is refused. RFC 9112 §6.3: one with Transfer-Encoding beside
Content-Length could smuggle another. The production server joins repeated headers with a comma and drops Content-Length
when both are there, so any Transfer-Encoding is refused: every OAuth client sends a length.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class WsgiGuard:
    """Wraps a WSGI application."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Refuses, or passes the request on."""
        refusal = _refusal(environ)
        if refusal is None:
            return self._application(environ, start_response)
        body = b"Bad request.\n"
        allowed = [("Allow", ", ".join(sorted(_METHODS)))] if refusal.startswith("405") else []
        headers = [
            *allowed,
            ("Content-Type", "text/plain"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        start_response(refusal, headers)
        return [body]


def _refusal(environ: WSGIEnvironment) -> str | None:
    host = environ.get("HTTP_HOST", "")
    if not host or "," in host:
        return "400 Bad Request"
    if "HTTP_TRANSFER_ENCODING" in environ:
        return "411 Length Required"
    if environ["REQUEST_METHOD"] not in _METHODS:
        return "405 Method Not Allowed"
    return None
