"""One request at a time in each worker, and no slow client in anybody's way.

The production server hands a request over before its body has arrived. Each connection has a thread that waits for the
body here; only then does the request enter the application, which one request at a time passes (see
`docs/adr/0004-granian-one-request-at-a-time.md`). A client that withholds its body holds one of these threads, nothing
more. A request that waits for a password's hash or for others to write lets them pass (`infra/turns.py`).

A request that has waited too long is answered 503 rather than later than anybody waits for it. While the server drains,
every answer asks the client to connect anew, so that it finds another server.
"""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from server.infra import draining, secrets
from server.infra.turns import Gate, turn
from server.web import security_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Where a view says that its answer is made while it is sent, without the application: it needs no turn for that.
STREAMS: Final = "gatepost.streams"
#: How long a request waits for its turn. With `database.REQUEST_PATIENCE` it keeps every failure below 2.5 seconds.
QUEUE_SECONDS: Final = 2.0
_BUSY: Final = {"error": "temporarily_unavailable", "error_description": "Try again in a moment."}
_HEADERS: Final = (
    *security_headers.ALWAYS.items(),
    ("Content-Security-Policy", security_headers.POLICY),
    ("Cache-Control", "no-store"),
)
_BROKEN_HEADERS: Final = (*_HEADERS, ("Content-Length", "0"), ("Connection", "close"))
_BUSY_HEADERS: Final = (*_HEADERS, ("Content-Type", "application/json"), ("Retry-After", "1"))
#: Where errors have the members of `/v1`.
_API_PATH: Final = re.compile(r"(?:/api)?/v1(?:/|$)")


class OneAtATime:
    """Wraps a WSGI application; one instance a process."""

    def __init__(
        self,
        application: WSGIApplication,
        maximum_body_bytes: int | Callable[[str], int],
        liveness_paths: frozenset[str] = frozenset(),
        issuer_path: str = "",
    ) -> None:
        self._application = application
        #: The same for all paths, or by path.
        self._maximum_body_bytes = maximum_body_bytes
        self._liveness_paths = liveness_paths
        self._issuer_path = issuer_path
        self._gate = Gate()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Waits for the body, then for the application."""
        if draining.is_draining():
            start_response = _closing(start_response)
        if not self._has_whole_body(environ):
            start_response("400 Bad Request", list(_BROKEN_HEADERS))
            return []
        if environ["PATH_INFO"] in self._liveness_paths:
            # Liveness does not wait for whoever waits for the database.
            return self._application(environ, start_response)
        # Latency counts from here: a slow client's body is not the server's time, the queue is.
        environ["gatepost.received_at"] = time.perf_counter()
        try:
            with turn(self._gate, QUEUE_SECONDS):
                return self._answer(environ, start_response)
        except TimeoutError:
            return self._refuse(environ, start_response)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._application(environ, start_response)
        if environ.get(STREAMS):
            return answer
        try:
            return list(answer)
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()

    def _refuse(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        document, headers = dict(_BUSY), list(_BUSY_HEADERS)
        if _API_PATH.match(environ["PATH_INFO"].removeprefix(self._issuer_path)):
            request_id = "req_" + secrets.new_id()
            document = {"error": _BUSY["error"], "message": _BUSY["error_description"], "request_id": request_id}
            headers.append(("X-Request-ID", request_id))
        body = json.dumps(document).encode()
        start_response("503 Service Unavailable", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _has_whole_body(self, environ: WSGIEnvironment) -> bool:
        """Reads the body; of one that was cut off what arrived is not what was meant (RFC 9112 §8)."""
        announced = environ.get("CONTENT_LENGTH") or "0"
        if not (announced.isascii() and announced.isdigit() and len(announced) < 19):
            return False
        length = int(announced)
        maximum = self._maximum_body_bytes
        # A larger one is refused unread.
        if 0 < length <= (maximum if isinstance(maximum, int) else maximum(environ["PATH_INFO"])):
            body = environ["wsgi.input"].read(length)
            environ["wsgi.input"] = io.BytesIO(body)
            return len(body) == length
        return True


def _closing(start_response: StartResponse) -> Callable[..., Any]:
    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        return start_response(status, [*headers, ("Connection", "close")], *rest)

    return start
