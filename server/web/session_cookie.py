"""The session cookie: an opaque secret that names a browser, `__Host-` wherever TLS allows it.

On http://localhost the prefix and `Secure` are left off, as Safari would not keep the cookie; a deployment on any other
host must be https.

Beside it stands a second cookie, which opens nothing: the browser's state, for the script of our frame in clients'
pages (`protocol/session_management.py`). That script has to read it, in frames of other sites, so it is neither
HttpOnly nor bound to our own site.
"""

from __future__ import annotations

from typing import cast

from flask import Flask, Response, g, request

from server.config import Settings
from server.domain.browsers import (
    SESSION_CHANGED,
    Browser,
    create_browser,
    find_browser,
    find_superseded_browser,
    read_browser,
)
from server.domain.errors import Denied
from server.protocol.session_management import browser_state
from server.web.context import current_gatepost, current_work


def cookie_name(settings: Settings) -> str:
    """The cookie's name in this deployment (RFC 6265bis §4.1.3.2)."""
    return "__Host-gatepost" if settings.is_https else "gatepost"


def state_cookie_name(settings: Settings) -> str:
    """The name of the cookie that tells our frame the browser's state."""
    return f"{cookie_name(settings)}-state"


def register(app: Flask) -> None:
    """Writes the cookies when a request made or changed what they tell."""
    app.after_request(_write_cookie)
    app.after_request(_write_state)


def browser_secret() -> str | None:
    """The secret of this browser's cookie: the new one if this request made one."""
    planted = cast(str | None, g.get("planted_secret"))
    return planted or request.cookies.get(cookie_name(current_gatepost().runtime.settings))


def current_browser() -> Browser | None:
    """The browser that sent the request, if its cookie is one of ours."""
    if "browser" not in g:
        secret = browser_secret()
        g.browser = find_browser(current_work(), secret) if secret else None
    return cast(Browser | None, g.browser)


def presenting_browser() -> Browser | None:
    """As `current_browser`, without a transaction; of a request that asks this first, it is the current one after."""
    if "browser" not in g:
        secret = browser_secret()
        g.browser = read_browser(current_work(), secret) if secret else None
    return cast(Browser | None, g.browser)


def known_browser() -> Browser:
    """The browser that sent the request, which an earlier page has given a cookie.

    Raises:
        Denied: when it sent none.
    """
    check_cookie()
    return ensure_browser()


def check_cookie() -> None:
    """Refuses a browser without a cookie.

    Raises:
        Denied: with the sentence that helps.
    """
    if browser_secret() is None:
        raise Denied("Your browser sent no cookie. Allow cookies for this site and start again.")


def ensure_browser() -> Browser:
    """The browser that sent the request; one that is new here gets a cookie.

    Raises:
        Denied: when its cookie was replaced a moment ago: a new one would sign the person out again.
    """
    browser = current_browser()
    if browser is None:
        if superseded_browser() is not None:
            raise Denied(SESSION_CHANGED)
        browser, secret = create_browser(current_work())
        g.browser = browser
        plant(secret)
    return browser


def superseded_browser() -> Browser | None:
    """The browser whose cookie was replaced while this request was on its way."""
    secret = browser_secret()
    return find_superseded_browser(current_work(), secret) if secret else None


def plant(secret: str) -> None:
    """Replaces the browser's cookie with this answer."""
    g.planted_secret = secret


def _write_cookie(response: Response) -> Response:
    secret = g.get("planted_secret")
    # A failed answer, and one to HEAD, rolls the new secret back; the browser keeps its old one.
    if secret is not None and response.status_code < 400 and request.method != "HEAD":
        settings = current_gatepost().runtime.settings
        response.set_cookie(
            cookie_name(settings),
            secret,
            max_age=settings.session_lifetime,
            path="/",
            secure=settings.is_https,
            httponly=True,
            samesite="Lax",
        )
    return response


def _write_state(response: Response) -> Response:
    """Tells the frame what the browser's state is now, if that is not what it was told before.

    A browser that nobody ever signed in on has nothing to tell: no client has been told a state of it.
    """
    # After a failed answer the row was rolled back, and what it says now is not asked for.
    if response.status_code >= 400 or request.method == "HEAD":
        return response
    browser = cast(Browser | None, g.get("browser"))
    if browser is None or browser.secret_replaced_at is None:
        return response
    settings = current_gatepost().runtime.settings
    state = browser_state(browser)
    if request.cookies.get(state_cookie_name(settings)) != state:
        response.set_cookie(
            state_cookie_name(settings),
            state,
            max_age=settings.session_lifetime,
            path="/",
            secure=settings.is_https,
            # Browsers take None only together with Secure.
            samesite="None" if settings.is_https else "Lax",
        )
    return response
