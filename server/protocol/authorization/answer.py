"""What an authorization gives, by its response type (OpenID Connect Core §3.1.2.5, §3.2.2.5, §3.3.2.5)."""

from __future__ import annotations

from typing import Any

from server.domain import audit_log, scopes
from server.domain.audit_events import AuditEvent
from server.domain.authorization_codes import issue_authorization_code
from server.domain.authorization_requests import AuthorizationRequest
from server.domain.browsers import Browser
from server.domain.clients import Client
from server.domain.errors import NotFound
from server.domain.grants import Grant, Granted, SignInFacts, create_grant
from server.domain.policy.acr_ladder import acr_of
from server.domain.sessions import Session
from server.domain.subjects import subject_of
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import find_user
from server.protocol.authorization.response_types import gives_access_token, gives_code, gives_id_token
from server.protocol.session_management import session_state
from server.protocol.tokens.access_token import issue_access_token
from server.protocol.tokens.id_token import Authorized, Beside, issue_id_token
from server.protocol.tokens.token_response import issuance_now


def issue_answer(
    work: UnitOfWork, request: AuthorizationRequest, client: Client, session: Session, browser: Browser
) -> dict[str, str]:
    """The members of the answer, beside `state` and `iss`."""
    stored = request.parameters
    response_type = stored["response_type"]
    answer: dict[str, str] = {}
    if response_type != "none":
        grant = _grant(work, stored, client, session)
        if gives_code(response_type):
            answer["code"] = issue_authorization_code(work, grant, stored["redirect_uri"], stored["code_challenge"])
        if gives_access_token(response_type) or gives_id_token(response_type):
            answer |= _tokens(work, response_type, client, grant, answer.get("code"))
    if scopes.OPENID in scopes.parse(stored["scope"]):
        answer["session_state"] = session_state(client.id, stored["redirect_uri"], browser)
    return answer


def _grant(work: UnitOfWork, stored: dict[str, Any], client: Client, session: Session) -> Grant:
    acr = acr_of(work.settings.acr_ladder, session.amr, stored.get("acr_values", ()))
    granted = Granted(scopes.parse(stored["scope"]), stored["nonce"], stored.get("claims"))
    sign_in = SignInFacts(session.id, session.auth_time, session.amr, acr, session.ends_at)
    # From here on the person has a `sub` for this client: redeeming a code reads it, in no transaction.
    subject_of(work, client, session.user_id)
    return create_grant(work, client.id, session.user_id, granted, sign_in)


def _tokens(work: UnitOfWork, response_type: str, client: Client, grant: Grant, code: str | None) -> dict[str, str]:
    """The tokens that stand in the answer itself; never a refresh token (OpenID Connect Core §3.2.2.5)."""
    user = find_user(work, grant.user_id)
    if user is None:
        raise NotFound("This account no longer exists.")
    authorized = Authorized(client, user, grant, grant.scope_set, issuance_now(work))
    answer: dict[str, str] = {}
    if gives_access_token(response_type):
        issued = issue_access_token(work, client, grant.scope_set, grant, authorized.issuance)
        answer["access_token"], answer["token_type"] = issued.token, "Bearer"
        answer["expires_in"], answer["scope"] = str(issued.expires_in), scopes.format_scopes(grant.scope_set)
        audit_log.record(
            work,
            AuditEvent.TOKEN_ISSUED,
            user_id=user.id,
            client_id=client.id,
            grant_type="implicit",
            grant_id=grant.id,
        )
        work.runtime.metrics.issue("implicit", client.client_type)
    if gives_id_token(response_type):
        answer["id_token"] = issue_id_token(work, authorized, Beside(answer.get("access_token"), code, grant.nonce))
    return answer
