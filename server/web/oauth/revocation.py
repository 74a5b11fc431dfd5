"""`POST /oauth/revoke` (RFC 7009)."""

from __future__ import annotations

from flask.wrappers import Response

from server.web.context import current_gatepost
from server.web.oauth.request_adapter import adapt_post, to_flask
from server.web.transaction import in_transaction


@in_transaction
def revoke() -> Response:
    """Ends a token of the client's own; 200 also for one that is unknown."""
    return to_flask(current_gatepost().server.answer_endpoint("revocation", adapt_post()))
