"""The page for what cannot be sent to a client."""

from __future__ import annotations

from typing import Any

from flask.wrappers import Response

from server.web.context import current_request_id, current_work
from server.web.pages import render


def error_page(status: int, heading: str, message: str, advice: str | None = None, **technical: Any) -> Response:
    """The page for what cannot be sent to a client, with an id to quote."""
    details = {"application": None, "code": None, "description": None, "parameter": None} | technical
    return render(
        "interaction/error.html",
        status,
        heading=heading,
        message=message,
        advice=advice,
        reference=current_request_id(),
        occurred_at=current_work().now,
        **details,
    )
