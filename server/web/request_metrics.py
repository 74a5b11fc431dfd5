"""Counts every request, whoever answers it, and writes the access log when it is wanted.

The names of endpoints are ours: whoever answers leaves its own in the request's environment, and what nobody knows is
`unknown`. Paths and query strings are neither counted nor logged; they hold codes and states.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, request

from server.infra.logging import request_id
from server.infra.metrics import Metrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Where whoever answers leaves the endpoint's name.
ENDPOINT: Final = "gatepost.endpoint"
#: When the whole request was there, by `perf_counter`.
RECEIVED_AT: Final = "gatepost.received_at"

access_log = logging.getLogger("gatepost.access")


class CountedRequests:
    """Wraps a WSGI application."""

    def __init__(self, application: WSGIApplication, metrics: Metrics, *, writes_access_log: bool = False) -> None:
        self._application, self._metrics = application, metrics
        self._writes_access_log = writes_access_log

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Passes the request on and counts its answer."""
        began = perf_counter()
        status = "500"
        headers: list[tuple[str, str]] = []

        def remember(line: str, fields: list[tuple[str, str]], *fault: Any) -> Any:
            nonlocal status, headers
            status, headers = line, fields
            return start_response(line, fields, *fault)

        try:
            return self._application(environ, remember)
        finally:
            seconds = perf_counter() - environ.get(RECEIVED_AT, began)
            endpoint = environ.get(ENDPOINT, "unknown")
            self._metrics.observe(endpoint, environ["REQUEST_METHOD"], status, seconds)
            if self._writes_access_log:
                self._write(environ, endpoint, status, seconds, headers)

    def _write(
        self, environ: WSGIEnvironment, endpoint: str, status: str, seconds: float, headers: list[tuple[str, str]]
    ) -> None:
        # The request's own id is forgotten by now; its answer still has it.
        token = request_id.set(next((value for name, value in headers if name.lower() == "x-request-id"), "-"))
        access_log.info("%s %s %s %.1f ms", environ["REQUEST_METHOD"], endpoint, status[:3], seconds * 1000)
        request_id.reset(token)


def register(app: Flask) -> None:
    """Lets each request that Flask answers say which endpoint it meets."""
    app.before_request(_name_endpoint)


def _name_endpoint() -> None:
    request.environ[ENDPOINT] = request.endpoint or "unknown"
