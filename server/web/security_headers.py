"""Security headers on every answer.

No `form-action` on pages whose POST may end at a client: browsers apply it to every hop of the redirect and would stop
the person on the way back to the app. `stays_on_site` adds it where nobody leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from flask import Flask, Response, g

from server.web.context import current_gatepost, current_request_id

POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; object-src 'none'; "
    "frame-ancestors 'none'"
)
ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    # Scripts of other origins that may read an answer are named by CORS; nobody may embed one.
    "Cross-Origin-Resource-Policy": "same-origin",
    # Left out, the production server would write its own name.
    "Server": "",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
STRICT_TRANSPORT: Final = "max-age=63072000; includeSubDomains"


def register(app: Flask) -> None:
    """Adds the headers to every answer of the application."""
    app.after_request(_add_headers)


def stays_on_site() -> None:
    """The page's forms end on this site, and the browser shall hold them to it."""
    _add_to_policy("form-action 'self'")
    g.cross_origin_opener_policy = "same-origin"


def runs_own_script() -> None:
    """The page runs a script of ours."""
    _add_to_policy("script-src 'self'")


def frames(origins: Iterable[str]) -> None:
    """The page embeds pages of these origins, and of no others."""
    _add_to_policy(f"frame-src {' '.join(origins)}")


def may_be_framed() -> None:
    """The page is made to stand in a frame of any client's page: it shows nothing and has nothing to click."""
    g.may_be_framed = True


def _add_to_policy(directive: str) -> None:
    g.policy_addition = f"{g.get('policy_addition', '')}; {directive}"


def _add_headers(response: Response) -> Response:
    for name, value in ALWAYS.items():
        response.headers.setdefault(name, value)
    response.headers["Content-Security-Policy"] = POLICY + g.get("policy_addition", "")
    if "may_be_framed" in g:
        _let_be_framed(response)
    response.headers.setdefault("Cache-Control", "no-store")
    # Only where nobody leaves: it would cut the opener off from a client that signs people in through a popup.
    if "cross_origin_opener_policy" in g:
        response.headers["Cross-Origin-Opener-Policy"] = g.cross_origin_opener_policy
    response.headers["X-Request-ID"] = current_request_id()
    if current_gatepost().runtime.settings.wants_strict_transport:
        response.headers["Strict-Transport-Security"] = STRICT_TRANSPORT
    return response


def _let_be_framed(response: Response) -> None:
    policy = response.headers["Content-Security-Policy"]
    response.headers["Content-Security-Policy"] = policy.replace("frame-ancestors 'none'", "frame-ancestors *")
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    del response.headers["X-Frame-Options"]
