"""One commit per request. A refusal (4xx, 5xx) leaves nothing behind but what `commit_before_raising` kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from flask import Response, make_response, request
from flask.typing import ResponseReturnValue

from server.infra.database import begin_reading, database, is_in_transaction

View = Callable[..., ResponseReturnValue]


def in_transaction(view: View) -> View:
    """Commits what the view changed before its answer leaves; a HEAD changes nothing (RFC 9110 §9.3.2)."""

    @wraps(view)
    def wrapped(**arguments: str) -> Response:
        response = make_response(view(**arguments))
        if response.status_code < 400 and request.method != "HEAD":
            # What a view did beside transactions is committed already.
            if is_in_transaction(database.session):
                database.session.commit()
        else:
            database.session.rollback()
        return response

    return wrapped


def reading(view: View) -> View:
    """For views that only read: on SQLite they wait for no writer."""

    @wraps(view)
    def wrapped(**arguments: str) -> ResponseReturnValue:
        begin_reading(database.session)
        return view(**arguments)

    return wrapped
