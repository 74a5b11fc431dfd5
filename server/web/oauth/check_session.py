"""`GET /oauth/check-session`: the frame that clients' pages ask about the session (Session Management 1.0 §3.2)."""

from __future__ import annotations

from typing import Final

from flask import make_response, render_template
from flask.wrappers import Response

from server.web.context import current_gatepost
from server.web.security_headers import may_be_framed, runs_own_script
from server.web.session_cookie import state_cookie_name

_MAX_AGE: Final = 3600


def check_session() -> Response:
    """The same page for everybody: what it tells, its script reads from the browser's cookie."""
    runs_own_script()
    may_be_framed()
    cookie = state_cookie_name(current_gatepost().runtime.settings)
    response = make_response(render_template("oauth/check_session.html", cookie=cookie))
    response.headers["Cache-Control"] = f"public, max-age={_MAX_AGE}"
    return response
