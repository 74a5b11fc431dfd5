"""From Flask's request to the protocol's, and back: parameters of a POST from its body alone, strictly decoded."""

from __future__ import annotations

from collections.abc import Mapping

from flask import jsonify, make_response, request
from flask.wrappers import Response

from server.protocol.authorization_server import EndpointResponse
from server.protocol.errors import InvalidRequest
from server.protocol.request import FORM, Parameters, ProtocolRequest
from server.web.context import current_gatepost, current_work


def query_parameters() -> Parameters:
    """The parameters of the query string."""
    # WSGI hands the raw bytes over as Latin-1 (PEP 3333).
    return Parameters.decode_bytes(request.environ.get("QUERY_STRING", "").encode("latin-1"))


def form_parameters() -> Parameters:
    """The parameters of the body.

    Raises:
        InvalidRequest: when the body is no form.
    """
    body = request.get_data(cache=True)
    if body and request.mimetype != FORM:
        raise InvalidRequest(f"The body must be {FORM}.")
    return Parameters.decode_bytes(body)


def adapt_post() -> ProtocolRequest:
    """The request of a machine endpoint (RFC 6749 §3.2).

    Raises:
        InvalidRequest: when parameters stand in the URL, where logs would keep them.
    """
    if request.query_string:
        raise InvalidRequest("Parameters belong in the body, not in the URL.")
    work = current_work()
    uri = work.settings.url(request.path.removeprefix(work.settings.issuer_path))
    return ProtocolRequest(work, "POST", uri, dict(request.headers), form_parameters())


def to_flask(answer: EndpointResponse) -> Response:
    """The protocol's answer as bytes; an empty one has no content type."""
    if answer.status >= 400 and isinstance(answer.body, Mapping):
        current_gatepost().runtime.metrics.refuse(request.endpoint or "unknown", answer.body.get("error", "none"))
    if answer.body is None:
        response = make_response("", answer.status)
        del response.headers["Content-Type"]
    else:
        # Bytes are written already; their type stands among the headers.
        response = make_response(answer.body) if isinstance(answer.body, bytes) else jsonify(answer.body)
        response.status_code = answer.status
    for name, value in answer.headers:
        response.headers[name] = value
    return response
