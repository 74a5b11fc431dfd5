"""Reading a request of `/v1`: its query and its JSON, strictly, and the sentence that names what is wrong with them."""

from __future__ import annotations

from typing import Final

from flask import request
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from server.web.api.documents import Document, Query
from server.web.api.error_answers import Refusal
from server.web.api.operation import Operation

_JSON: Final = "application/json"
_MAXIMUM_SHOWN: Final = 60


def read_query(operation: Operation) -> Query | None:
    """The parameters of the query.

    Raises:
        Refusal: 400 that names the parameter that is unknown, repeated or wrong.
    """
    given = request.args.to_dict(flat=False)
    for name, values in given.items():
        if len(values) > 1:
            raise Refusal(400, f"{_shown(name)}: this is there more than once.")
    model = operation.query or Query
    try:
        query = model.model_validate({name: values[0] for name, values in given.items()})
    except ValidationError as error:
        raise Refusal(400, _sentence(error)) from error
    return query if operation.query is not None else None


def read_body(operation: Operation) -> Document | None:
    """The JSON of the body.

    Raises:
        Refusal: 415 when it is something else; 400 that names the member that is unknown, missing or wrong.
    """
    sent = request.get_data(cache=True)
    if operation.body is None:
        if sent:
            raise Refusal(400, "This request has no body.")
        return None
    if request.mimetype != _JSON:
        if sent or _needs_body(operation):
            raise Refusal(415, f"The body must be {_JSON}.")
        sent = b"{}"
    if not sent and not _needs_body(operation):
        sent = b"{}"
    try:
        return operation.body.model_validate_json(sent)
    except ValidationError as error:
        raise Refusal(400, _sentence(error)) from error


def _needs_body(operation: Operation) -> bool:
    """Whether some member has no default; without any the body itself may be left out."""
    assert operation.body is not None  # asked of operations with a body only
    return any(field.is_required() for field in operation.body.model_fields.values())


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(_shown(str(part)) for part in first["loc"])
    said = _said(first)
    return f"{where}: {said}" if where else said


def _said(error: ErrorDetails) -> str:
    match error["type"]:
        case "extra_forbidden":
            return "there is no such member."
        case "missing":
            return "this is missing."
        case "json_invalid":
            return "The body is no JSON."
        case "model_type":
            return "The body must be a JSON object."
        case _:
            return error["msg"].removeprefix("Value error, ").rstrip(".") + "."


def _shown(name: str) -> str:
    """A name as it was sent, so far as it can be shown."""
    return "".join(each if each.isascii() and each.isprintable() else "?" for each in name[:_MAXIMUM_SHOWN])
