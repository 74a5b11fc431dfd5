"""Cross-site request forgery: a token bound to browser and purpose, and the browser's word on a form's origin.

The token is an HMAC under the cookie's secret, so it needs no storage and dies when the cookie is rotated.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import request

from server.domain.errors import Denied
from server.infra import secrets
from server.web.context import current_gatepost
from server.web.session_cookie import browser_secret, check_cookie


def csrf_token(purpose: str) -> str:
    """The token for one form of this browser."""
    return secrets.keyed_digest(browser_secret() or "", f"csrf:{purpose}")


def check_csrf(purpose: str) -> None:
    """Refuses a form that did not come from our own page, in this browser, for this purpose.

    Raises:
        Denied: with the sentence that helps: reload, or allow cookies.
    """
    check_cookie()
    if not is_same_origin() or not has_current_token(purpose):
        raise Denied("This page was out of date. Go back, reload it and try again.")


def has_current_token(purpose: str) -> bool:
    """Whether the form's token is this browser's for this purpose."""
    return secrets.equal(request.form.get("csrf_token", ""), csrf_token(purpose))


def is_same_origin() -> bool:
    """Whether the form came from our own page, by the browser\'s word."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return False
    issuer = urlsplit(current_gatepost().runtime.settings.issuer)
    # Under our own Referrer-Policy: no-referrer, browsers send `Origin: null` with same-origin forms.
    return request.headers.get("Origin", "null") in {"null", f"{issuer.scheme}://{issuer.netloc}"}
