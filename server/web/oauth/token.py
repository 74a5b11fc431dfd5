"""`POST /oauth/token` (RFC 6749 §3.2)."""

from __future__ import annotations

from flask.wrappers import Response

from server.web.context import current_gatepost
from server.web.oauth.request_adapter import adapt_post, to_flask
from server.web.transaction import in_transaction


@in_transaction
def token() -> Response:
    """Answers every grant type."""
    return to_flask(current_gatepost().server.answer_token_request(adapt_post()))
