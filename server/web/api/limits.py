"""Requests of one caller in a minute, and the headers that tell what is left of them."""

from __future__ import annotations

from flask import Flask, Response, g

from server.domain.credential_limits import WINDOW_SECONDS, Allowance
from server.domain.credential_limits import spend_request as spend
from server.web.api.authentication import Caller
from server.web.context import current_work


def spend_request(caller: Caller) -> None:
    """Takes one request from what the caller may send in a minute.

    Raises:
        TooMany: when nothing is left.
    """
    work = current_work()
    limit = work.settings.api_requests_per_minute
    g.allowance = Allowance(limit, 0, WINDOW_SECONDS)
    key = caller.key
    if key is not None and key.rate_limit_per_minute is not None:
        # The same count as at verification, wherever the key is used.
        g.allowance = spend(work, key.id, key.rate_limit_per_minute)
        if key.rate_limit_per_minute <= limit:
            return
    g.allowance = spend(work, f"v1:{caller.account}", limit)


def register(app: Flask) -> None:
    """Adds the headers to what the API answers."""
    app.after_request(_add_headers)


def _add_headers(response: Response) -> Response:
    """Tells the caller how many requests are left until when."""
    allowance: Allowance | None = g.get("allowance")
    if allowance is not None:
        response.headers["RateLimit-Limit"] = str(allowance.limit)
        response.headers["RateLimit-Reset"] = str(allowance.resets_in)
        if allowance.remaining is not None:
            response.headers["RateLimit-Remaining"] = str(allowance.remaining)
    return response
