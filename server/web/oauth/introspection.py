"""`POST /oauth/introspect` (RFC 7662)."""

from __future__ import annotations

from flask.wrappers import Response

from server.web.context import current_gatepost
from server.web.oauth.request_adapter import adapt_post, to_flask
from server.web.transaction import in_transaction


@in_transaction
def introspect() -> Response:
    """Tells those entitled to know whether a token may be used."""
    return to_flask(current_gatepost().server.answer_endpoint("introspection", adapt_post()))
