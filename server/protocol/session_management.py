"""Session management: how a page notices that something changed here (OpenID Connect Session Management 1.0 §3).

A client's page holds the `session_state` of its authorization response. Our frame in that page computes it anew from
the browser's state, which a cookie tells it: equal means that nothing changed.
"""

from __future__ import annotations

import hashlib

from server.domain.browsers import Browser
from server.domain.redirect_uris import origin_of
from server.infra import secrets


def browser_state(browser: Browser | None) -> str:
    """The state of a browser, told to our own frame: another after every sign-in, sign-out and change of account.

    It comes from the digest of the cookie's secret, and leads back to neither.
    """
    if browser is None:
        return hashlib.sha256(b"browser-state").hexdigest()
    told = f"browser-state:{browser.secret_digest}:{browser.current_session_id or ''}"
    return hashlib.sha256(told.encode()).hexdigest()


def session_state(client_id: str, redirect_uri: str, browser: Browser | None) -> str:
    """The `session_state` of an authorization response (§3): only this client's pages can do anything with it."""
    salt = secrets.new_id()
    told = f"{client_id} {origin_of(redirect_uri)} {browser_state(browser)} {salt}"
    return f"{hashlib.sha256(told.encode()).hexdigest()}.{salt}"
