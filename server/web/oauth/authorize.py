"""`GET|POST /oauth/authorize` and its resumption (RFC 6749 §3.1, OpenID Connect Core §3.1.2)."""

from __future__ import annotations

from flask import redirect, request
from flask.typing import ResponseReturnValue

from server.domain.authorization_requests import AuthorizationRequest, get_open_request
from server.domain.browsers import Browser
from server.protocol.authorization import endpoint
from server.web.authorization_response import carry_on, resume_url, send
from server.web.context import current_work
from server.web.oauth.request_adapter import form_parameters, query_parameters
from server.web.session_cookie import current_browser, ensure_browser
from server.web.transaction import in_transaction


@in_transaction
def authorize() -> ResponseReturnValue:
    """Takes a client's request; it never decides anything for the person.

    A POST from a client's page comes without our cookie (SameSite=Lax), so its request is parked unbound and the
    browser is sent to the resumption, where the cookie is there again.
    """
    is_post = request.method == "POST"
    browser = None if is_post else current_browser()
    outcome = endpoint.begin(current_work(), form_parameters() if is_post else query_parameters(), browser)
    if not isinstance(outcome, AuthorizationRequest):
        return send(outcome)
    if is_post:
        return redirect(resume_url(outcome), 303)
    return carry_on(outcome, browser)


@in_transaction
def authorize_resume(request_id: str) -> ResponseReturnValue:
    """Carries a parked request on, as often as needed."""
    endpoint.prepare(current_work(), request_id)
    browser: Browser = ensure_browser()
    return carry_on(get_open_request(current_work(), request_id, browser), browser)
