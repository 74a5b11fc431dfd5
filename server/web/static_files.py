"""Stylesheet, mark and the one script, served with a lifetime that a new version outruns."""

from __future__ import annotations

from flask import send_from_directory
from flask.wrappers import Response

from server.infra.resources import STATIC

_MAX_AGE = 3600


def static_file(path: str) -> Response:
    """One file of `templates/static`."""
    response = send_from_directory(STATIC, path, max_age=_MAX_AGE)
    response.headers["Cache-Control"] = f"public, max-age={_MAX_AGE}"
    return response
