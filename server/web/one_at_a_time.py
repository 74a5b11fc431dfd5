"""One request at a time in each worker, and no slow client in anybody's way.

The production server hands a request over before its body has arrived. Each connection has a thread that waits for the
body here; only then does the request enter the application, which one request at a time passes (see
`docs/adr/0004-granian-one-request-at-a-time.md`). A client that withholds its body holds one of these threads, nothing
more. A request that waits for a password's hash lets others pass (`infra/turns.py`).
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from server.infra.turns import turn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class OneAtATime:
    """Wraps a WSGI application; one instance a process."""

    def __init__(
        self, application: WSGIApplication, maximum_body_bytes: int, liveness_paths: frozenset[str] = frozenset()
    ) -> None:
        self._application = application
        self._maximum_body_bytes = maximum_body_bytes
        self._liveness_paths = liveness_paths
        self._gate = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Waits for the body, then for the application."""
        if not self._has_whole_body(environ):
            start_response("400 Bad Request", [("Content-Length", "0"), ("Connection", "close")])
            return []
        if environ["PATH_INFO"] in self._liveness_paths:
            # Liveness does not wait for whoever waits for the database.
            return self._application(environ, start_response)
        with turn(self._gate):
            answer = self._application(environ, start_response)
            try:
                return list(answer)
            finally:
                close = getattr(answer, "close", None)
                if close is not None:
                    close()

    def _has_whole_body(self, environ: WSGIEnvironment) -> bool:
        """Reads the body; of one that was cut off what arrived is not what was meant (RFC 9112 §8)."""
        announced = environ.get("CONTENT_LENGTH") or "0"
        if not (announced.isascii() and announced.isdigit() and len(announced) < 19):
            return False
        length = int(announced)
        # A larger one is refused unread.
        if 0 < length <= self._maximum_body_bytes:
            body = environ["wsgi.input"].read(length)
            environ["wsgi.input"] = io.BytesIO(body)
            return len(body) == length
        return True
