"""Errors of `/v1` as JSON, `{"error", "message", "request_id"}`, with the headers that belong to their status."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from flask import jsonify, request
from flask.wrappers import Response
from werkzeug.exceptions import HTTPException, InternalServerError

from server.domain.errors import Conflict, Denied, DomainError, Expired, Invalid, NotFound, TooMany
from server.protocol.errors import OAuth2Error
from server.web.context import current_gatepost, current_request_id
from server.web.machine_errors import RETRY_AFTER_SECONDS, note_fault

log = logging.getLogger(__name__)

#: Where `/v1` stands, under the issuer's path.
MOUNTS: Final = ("/v1", "/api/v1")
CODES: Final[Mapping[int, str]] = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "invalid_request",
    409: "conflict",
    413: "invalid_request",
    415: "invalid_request",
    429: "rate_limited",
    500: "server_error",
    503: "temporarily_unavailable",
}
_STATUS_OF: Final[Mapping[type[DomainError], int]] = {
    NotFound: 404,
    Denied: 403,
    Expired: 409,
    Conflict: 409,
    Invalid: 400,
    TooMany: 429,
}
_SENTENCES: Final[Mapping[int, str]] = {
    400: "The request cannot be read.",
    404: "There is nothing at this address.",
    405: "This address does not answer that method.",
    413: "The request is larger than we accept.",
    415: "The body must be application/json.",
}


class Refusal(Exception):
    """A request of the API is refused; `str` is the sentence that is sent."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.headers = status, dict(headers or {})


def is_api_request() -> bool:
    """Whether the request is one of `/v1`, met by an endpoint of its or by none."""
    if request.endpoint is not None:
        return request.endpoint.startswith("api.")
    prefix = current_gatepost().runtime.settings.issuer_path
    return any(f"{request.path}/".startswith(f"{prefix}{mount}/") for mount in MOUNTS)


def api_error(error: BaseException) -> Response:
    """The answer to a request that ended in `error`; a fault of ours is logged with its traceback."""
    if isinstance(error, Refusal):
        return _answer(error.status, str(error), error.headers)
    if isinstance(error, DomainError):
        return _domain_answer(error)
    if isinstance(error, OAuth2Error):
        return _answer(
            error.status_code or 400, error.description or "The request is refused.", dict(error.get_headers())
        )
    if isinstance(error, HTTPException) and not isinstance(error, InternalServerError):
        return _http_answer(error)
    cause = getattr(error, "original_exception", None) or error
    if note_fault(cause):
        return _answer(503, "Try again in a moment.", {"Retry-After": str(RETRY_AFTER_SECONDS)})
    return _answer(500, "Something went wrong on our side.")


def _domain_answer(error: DomainError) -> Response:
    status = _STATUS_OF.get(type(error), 400)
    if isinstance(error, TooMany):
        return _answer(status, str(error), {"Retry-After": str(error.retry_after)})
    sentence = f"{_as_member(error.field)}: {error}" if isinstance(error, Invalid) else str(error)
    return _answer(status, sentence)


def _http_answer(error: HTTPException) -> Response:
    status = error.code or 400
    allowed = getattr(error, "valid_methods", None)
    headers = {"Allow": ", ".join(sorted(allowed))} if allowed else {}
    return _answer(status, _SENTENCES.get(status, _SENTENCES[400]), headers)


def _as_member(field: str) -> str:
    """A field of the domain by the name that it has in the API's JSON."""
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _answer(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    code = CODES.get(status, "invalid_request")
    current_gatepost().runtime.metrics.refuse(request.endpoint or "unknown", code)
    log.info("refused: %s %s", code, sentence)
    response = jsonify({"error": code, "message": sentence, "request_id": current_request_id()})
    response.status_code = status
    response.headers.update(headers or {})
    return response
