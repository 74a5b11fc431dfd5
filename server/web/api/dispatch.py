"""From an operation of the table to a view: who asks, may they, what do they want, and the answer as JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import make_response
from flask.wrappers import Response

from server.domain.errors import Denied
from server.infra.database import begin_reading, database
from server.web.api.admission import PATH_ARGUMENT, Call, admit
from server.web.api.authentication import authenticate, note_refusal
from server.web.api.documents import Document
from server.web.api.error_answers import Refusal
from server.web.api.idempotency import once
from server.web.api.limits import spend_request
from server.web.api.operation import Operation
from server.web.api.reading import read_body, read_query
from server.web.transaction import View, in_transaction


def view_of(operation: Operation) -> View:
    """The Flask view of one operation, in a transaction that fits it."""
    if operation.access == "own":
        view: View = operation.view
        return view

    def answer(**path: str) -> Response:
        return _answer(operation, path)

    return in_transaction(answer)


def _answer(operation: Operation, path: dict[str, str]) -> Response:
    for name, value in path.items():
        if not PATH_ARGUMENT.fullmatch(value):
            raise Refusal(404, f"There is nothing under this {name.replace('_', ' ')}.")
    caller = authenticate()
    # What a credential used up stays used up, whatever becomes of the request.
    database.session.commit()
    spend_request(caller)
    if operation.only_reads:
        begin_reading(database.session)
    query = read_query(operation)
    call = admit(operation, caller, query, dict(path))
    call = replace(call, body=read_body(operation))
    return once(operation, call, lambda: _to_response(operation, _act(operation, call)))


def _act(operation: Operation, call: Call) -> Any:
    try:
        return operation.view(call, **call.path)
    except Denied:
        # Somebody who may be here reached for more than they have.
        place = {"organization_id": call.found_organization.id} if call.found_organization is not None else {}
        note_refusal(call.caller, "denied", operation=operation.name, **place, environment=call.environment)
        raise


def _to_response(operation: Operation, result: Any) -> Response:
    if isinstance(result, Document):
        return Response(result.model_dump_json(), operation.status, mimetype="application/json")
    if result is None:
        response = make_response("", operation.status)
        del response.headers["Content-Type"]
        return response
    assert isinstance(result, Response)  # what is no JSON comes ready
    return result
