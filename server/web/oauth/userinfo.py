"""`GET|POST /oauth/userinfo` (OpenID Connect Core §5.3)."""

from __future__ import annotations

from flask import request
from flask.wrappers import Response

from server.domain.scopes import OPENID
from server.protocol.bearer import require_bearer_token
from server.protocol.request import Parameters
from server.protocol.userinfo import userinfo_response
from server.web.context import current_work
from server.web.oauth.request_adapter import form_parameters, query_parameters, to_flask
from server.web.transaction import in_transaction


@in_transaction
def userinfo() -> Response:
    """The claims that the presented access token opens."""
    form = form_parameters() if request.method == "POST" else Parameters({})
    form.check_not_repeated()
    work = current_work()
    verified = require_bearer_token(
        work, request.headers.get("Authorization"), form.data, query_parameters().data, scope=OPENID
    )
    return to_flask(userinfo_response(work, verified))
