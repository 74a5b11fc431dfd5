"""What a program is answered when something went wrong: one JSON document for each kind of error."""

from __future__ import annotations

import logging
from typing import Any, Final

from server.domain.errors import Conflict, Denied, DomainError, Expired, Invalid, NotFound, TooMany
from server.infra.database import is_outage
from server.protocol.authorization_server import EndpointResponse
from server.protocol.errors import OAuth2Error

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS: Final = 5
STATUS_OF: Final[dict[type[DomainError], int]] = {
    NotFound: 404,
    Denied: 403,
    Expired: 410,
    Conflict: 409,
    Invalid: 400,
    TooMany: 429,
}


def machine_error(error: BaseException) -> EndpointResponse:
    """The answer to a machine whose request ended in `error`; a fault of ours is logged with its traceback."""
    if isinstance(error, OAuth2Error):
        log.info("refused: %s %s", error.error, getattr(error, "detail", ""))
        status, body, headers = error()
        return EndpointResponse(status, body, headers)
    if isinstance(error, TooMany):
        wait = [("Retry-After", str(error.retry_after))]
        return error_document(429, "temporarily_unavailable", str(error), wait)
    if isinstance(error, DomainError):
        return error_document(STATUS_OF.get(type(error), 400), "invalid_request", str(error))
    if note_fault(error):
        # Never a refusal: a 401 or `invalid_grant` would make clients throw good tokens away.
        wait = [("Retry-After", str(RETRY_AFTER_SECONDS))]
        return error_document(503, "temporarily_unavailable", "Try again in a moment.", wait)
    return error_document(500, "server_error", "Something went wrong on our side.")


def note_fault(error: BaseException) -> bool:
    """Logs what went wrong; whether it is that the database does not answer."""
    if is_outage(error):
        log.error("the database does not answer: %s", type(error).__name__)
        return True
    log.error("unhandled fault", exc_info=error)
    return False


def error_document(
    status: int, code: str, description: str, headers: list[tuple[str, str]] | None = None
) -> EndpointResponse:
    """An error in the members of RFC 6749 §5.2."""
    body: dict[str, Any] = {"error": code, "error_description": description}
    return EndpointResponse(status, body, headers or [])
