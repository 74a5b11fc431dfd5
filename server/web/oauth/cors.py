"""CORS where browser clients need it, and nowhere else: never on the authorization endpoint (RFC 9700 §2.6).

`*` without credentials: none of these endpoints reads a cookie, so there is nothing a foreign page could ride on.
"""

from __future__ import annotations

from typing import Final

from flask import Flask, Response, request

ENDPOINTS: Final = frozenset(
    {
        "oauth.token",
        "oauth.session_alias",
        "oauth.userinfo",
        "oauth.revoke",
        "oauth.openid_configuration",
        "oauth.authorization_server",
        "oauth.authorization_server_inserted",
        "oauth.openid_configuration_inserted",
        "oauth.jwks",
    }
)
READABLE: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "WWW-Authenticate, X-Request-ID",
}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Accept",
    "Access-Control-Max-Age": "7200",
}


def register(app: Flask) -> None:
    """Adds the headers to the endpoints above."""
    app.after_request(_add_headers)


def _add_headers(response: Response) -> Response:
    if request.endpoint in ENDPOINTS:
        response.headers.update(READABLE)
        if request.method == "OPTIONS":
            response.headers.extend(_PREFLIGHT)
    return response
