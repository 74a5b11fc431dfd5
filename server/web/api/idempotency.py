"""`Idempotency-Key`: a POST that is sent again is answered again, and acts once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from flask import request
from flask.wrappers import Response

from server.domain import idempotent_responses
from server.web.api.admission import Call
from server.web.api.error_answers import Refusal
from server.web.api.operation import Operation

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


def once(operation: Operation, call: Call, act: Callable[[], Response]) -> Response:
    """The answer of `act`, or the one that the same request had before.

    Raises:
        Refusal: when the key is none.
        Conflict: when it stands for another request.
    """
    key = request.headers.get(HEADER)
    if operation.method != "POST" or key is None:
        return act()
    if not _KEY.fullmatch(key):
        raise Refusal(400, f"{HEADER} has 1 to 255 printable ASCII characters without spaces.")
    identity = json.dumps([call.caller.identity, operation.name, key])
    organization_id = call.found_organization.id if call.found_organization else None
    asked = [organization_id, call.environment, call.path, request.get_data(cache=True).decode("latin-1")]
    kept = idempotent_responses.begin_once(call.work, identity, json.dumps(asked, sort_keys=True))
    if kept is not None:
        response = Response(kept.body, kept.status, mimetype="application/json")
        if not kept.body:
            del response.headers["Content-Type"]
        response.headers[REPLAYED] = "true"
        return response
    response = act()
    if response.status_code < 400:
        idempotent_responses.keep_response(call.work, identity, response.status_code, response.get_data())
    return response
