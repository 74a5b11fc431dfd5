"""The pending authorization request that a page belongs to."""

from __future__ import annotations

from flask import request

from server.domain.authorization_requests import AuthorizationRequest, get_open_request
from server.domain.browsers import Browser
from server.web.context import current_work
from server.web.session_cookie import known_browser


def pending_request(browser: Browser | None = None) -> AuthorizationRequest | None:
    """The request that the page's `request` parameter names, for this browser; None when the page stands alone.

    Raises:
        NotFound, Denied, Expired: when it cannot be carried on here.
    """
    request_id = request.values.get("request")
    return get_open_request(current_work(), request_id, browser or known_browser()) if request_id else None


def required_request() -> AuthorizationRequest:
    """As `pending_request`, for pages that make no sense alone.

    Raises:
        NotFound, Denied, Expired: when there is none, or it cannot be carried on here.
    """
    return get_open_request(current_work(), request.values.get("request", ""), known_browser())
