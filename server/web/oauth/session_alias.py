"""`POST <session_alias_path>`: the deployment's own client trades its refresh token, as a form or JSON (RFC 6749 §6).

For front ends that were written before they knew OAuth: the path and the client are the deployment's, everything else
is the token endpoint's refresh, rotation and reuse detection included.
"""

from __future__ import annotations

from typing import Final

from flask import request
from flask.wrappers import Response

from server.infra.compact import InvalidToken, decode_object
from server.protocol.errors import InvalidRequest
from server.protocol.request import Parameters, ProtocolRequest
from server.web.context import current_gatepost, current_work
from server.web.oauth.request_adapter import form_parameters, to_flask
from server.web.transaction import in_transaction

#: What clients call it; RFC 6749's name, and the way JSON is often written.
_NAMES: Final = ("refresh_token", "refreshToken")


@in_transaction
def session_alias() -> Response:
    """Answers as the token endpoint does."""
    if request.query_string:
        raise InvalidRequest("Parameters belong in the body, not in the URL.")
    work = current_work()
    parameters = {
        "grant_type": ["refresh_token"],
        "refresh_token": [_presented_token()],
        "client_id": [work.settings.session_alias_client or ""],
    }
    # The client has no secret, so there is nothing for it to present: whatever header came along is none of ours.
    refresh = ProtocolRequest(work, "POST", work.settings.url("/oauth/token"), {}, Parameters(parameters))
    return to_flask(current_gatepost().server.answer_token_request(refresh))


def _presented_token() -> str:
    if request.mimetype == "application/json":
        try:
            document = decode_object(request.get_data(cache=True))
        except InvalidToken as error:
            raise InvalidRequest("The body is not a JSON object.") from error
        found = [document[name] for name in _NAMES if name in document]
    else:
        parameters = form_parameters()
        parameters.check_not_repeated()
        found = [value for name in _NAMES if (value := parameters.get(name)) is not None]
    if len(found) != 1 or not isinstance(found[0], str) or not found[0]:
        raise InvalidRequest("The body has to hold one refresh_token.")
    return found[0]
