"""Any error to bytes: JSON for machines, a page for people. The only place that turns errors into status codes."""

from __future__ import annotations

from typing import Final

from flask import Flask, jsonify, request
from flask.wrappers import Response
from werkzeug.exceptions import HTTPException, InternalServerError

from server.domain.clients import find_client
from server.domain.errors import DomainError, Expired, TooMany
from server.infra.database import database
from server.protocol.authorization_server import EndpointResponse
from server.protocol.errors import OAuth2Error
from server.web.api.error_answers import api_error, is_api_request
from server.web.context import current_gatepost, current_work
from server.web.error_pages import error_page
from server.web.machine_errors import RETRY_AFTER_SECONDS, STATUS_OF, error_document, machine_error, note_fault
from server.web.pages import client_alone, redirect_to
from server.web.person import SignInNeeded

_START_AGAIN: Final = "Go back to the app you came from and start again."
_HTTP_SENTENCES: Final = {
    400: ("This request isn't valid", "Your browser sent something we couldn't read."),
    404: ("Page not found", "There is nothing at this address."),
    405: ("This can't be done here", "This address doesn't accept that kind of request."),
    413: ("That was too much", "The request is larger than we accept."),
}


def register(app: Flask) -> None:
    """Installs the handlers; nothing leaves the application as a traceback."""
    app.register_error_handler(SignInNeeded, _on_sign_in_needed)
    app.register_error_handler(OAuth2Error, _on_oauth_error)
    app.register_error_handler(DomainError, _on_domain_error)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(Exception, _on_fault)


def _is_machine() -> bool:
    """Whether the caller is a program: all of `oauth.*` but the endpoint that people's browsers visit."""
    name = request.endpoint
    if name is None:
        return "text/html" not in request.headers.get("Accept", "")
    return name.startswith("oauth.") and not name.startswith("oauth.authorize")


def _on_sign_in_needed(error: SignInNeeded) -> Response:
    database.session.rollback()
    return redirect_to(error.login_url)


def _on_oauth_error(error: OAuth2Error) -> Response:
    database.session.rollback()
    if is_api_request():
        return api_error(error)
    answer = machine_error(error)
    current_gatepost().runtime.metrics.refuse(request.endpoint or "unknown", error.error or "none")
    if _is_machine():
        return _to_flask(answer)
    return error_page(
        400,
        "This sign-in link isn't valid",
        "The app you came from sent us a request we can't accept.",
        advice="Go back to the app and try again. If it happens again, the app's developer has to mend it.",
        application=client_alone(getattr(error, "client", None)),
        code=error.error,
        description=error.description,
        parameter=getattr(error, "parameter", None),
    )


def _on_domain_error(error: DomainError) -> Response:
    database.session.rollback()
    if is_api_request():
        return api_error(error)
    if _is_machine():
        return _to_flask(machine_error(error))
    status = STATUS_OF.get(type(error), 400)
    client_id = error.client_id if isinstance(error, Expired) else None
    client = find_client(current_work(), client_id) if client_id else None
    page = error_page(status, "This didn't work", str(error), advice=_START_AGAIN, application=client_alone(client))
    if isinstance(error, TooMany):
        page.headers["Retry-After"] = str(error.retry_after)
    return page


def _on_http_error(error: HTTPException) -> Response:
    if is_api_request():
        return api_error(error)
    status = error.code or 500
    if isinstance(error, InternalServerError):
        return _on_fault(error.original_exception or error)
    heading, message = _HTTP_SENTENCES.get(status, ("This request isn't valid", "We can't answer it."))
    if _is_machine():
        response = _to_flask(error_document(status, "invalid_request", message.replace("'", "")))
    else:
        response = error_page(status, heading, message)
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _on_fault(error: BaseException) -> Response:
    database.session.rollback()
    if is_api_request():
        return api_error(error)
    if _is_machine():
        return _to_flask(machine_error(error))
    if not note_fault(error):
        return error_page(500, "Something went wrong", "The fault is on our side.", advice="Try again in a moment.")
    page = error_page(503, "We'll be right back", "Our database doesn't answer.", advice="Try again in a moment.")
    page.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return page


def _to_flask(answer: EndpointResponse) -> Response:
    response = jsonify(answer.body)
    response.status_code = answer.status
    for name, value in answer.headers:
        response.headers[name] = value
    return response
