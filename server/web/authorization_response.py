"""From the authorization endpoint's outcome to a Flask answer: the next page, or the way back to the client."""

from __future__ import annotations

from flask.wrappers import Response

from server.domain.authorization_requests import AuthorizationRequest, get_open_request
from server.domain.browsers import Browser
from server.domain.clients import get_client
from server.protocol.authorization import endpoint
from server.protocol.authorization.endpoint import PageNeeded
from server.protocol.authorization.prompt import Step
from server.protocol.authorization.response_modes import AuthorizationResponse, FormPost
from server.web.context import current_work
from server.web.pages import Application, application, page_url, redirect_to, render
from server.web.security_headers import runs_own_script
from server.web.session_cookie import ensure_browser

_PAGE_OF_STEP = {
    Step.LOGIN: "login",
    Step.REAUTHENTICATION: "login",
    Step.SELECT_ACCOUNT: "select-account",
    Step.CONSENT: "consent",
}


def resume_url(parked: AuthorizationRequest) -> str:
    """Where a parked request is carried on."""
    return page_url(f"oauth/authorize/resume/{parked.id}")


def carry_on(parked: AuthorizationRequest, browser: Browser | None) -> Response:
    """The next page of a parked request, or its answer."""
    outcome = endpoint.resume(current_work(), parked, browser)
    if isinstance(outcome, PageNeeded):
        if browser is None:
            # Only a person who has to see a page gets a cookie.
            get_open_request(current_work(), parked.id, ensure_browser())
        return redirect_to(page_url(_PAGE_OF_STEP[outcome.progress.step], parked.id))
    return send(outcome)


def send(answer: AuthorizationResponse) -> Response:
    """The authorization response, as the redirect URI and the response mode ask."""
    if isinstance(answer, FormPost):
        runs_own_script()
        return render("interaction/form_post.html", target=answer.target, fields=answer.fields, application=None)
    return redirect_to(answer.location)


def application_of(parked: AuthorizationRequest) -> Application:
    """The client of a parked request, for a page."""
    asked = parked.parameters
    return application(get_client(current_work(), parked.client_id), asked["redirect_uri"], asked["response_type"])
