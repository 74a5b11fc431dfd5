"""`POST /oauth/register` and `GET|PUT|DELETE /oauth/register/<client_id>` (RFC 7591, RFC 7592)."""

from __future__ import annotations

from flask import request
from flask.wrappers import Response

from server.protocol import registration
from server.protocol.errors import InvalidClientMetadata
from server.web.context import current_work
from server.web.oauth.request_adapter import to_flask
from server.web.transaction import in_transaction


@in_transaction
def register() -> Response:
    """Registers a client."""
    return to_flask(registration.register_client(current_work(), _authorization(), _json_body()))


@in_transaction
def read_registration(client_id: str) -> Response:
    """Shows a client its registration."""
    return to_flask(registration.read_registration(current_work(), client_id, _authorization()))


@in_transaction
def replace_registration(client_id: str) -> Response:
    """Replaces a client's registration."""
    return to_flask(registration.replace_registration(current_work(), client_id, _authorization(), _json_body()))


@in_transaction
def delete_registration(client_id: str) -> Response:
    """Removes a client that asks for it."""
    return to_flask(registration.delete_registration(current_work(), client_id, _authorization()))


def _authorization() -> str | None:
    return request.headers.get("Authorization")


def _json_body() -> bytes:
    """The body, which a page of another origin cannot send without asking first: JSON needs a preflight."""
    if request.mimetype != "application/json":
        raise InvalidClientMetadata("The body must be application/json.")
    return request.get_data(cache=True)
