"""Bearer tokens: where they may stand in a request, and the challenge when they do not (RFC 6750)."""

from __future__ import annotations

from collections.abc import Mapping

from server.domain import scopes
from server.domain.unit_of_work import UnitOfWork
from server.infra.jose import InvalidToken
from server.protocol.errors import BearerError, InsufficientScope, MalformedBearerRequest, MissingToken
from server.protocol.tokens.access_token import VerifiedAccessToken, verify_access_token


def require_bearer_token(
    work: UnitOfWork, authorization: str | None, form: Mapping[str, str], query: Mapping[str, str], scope: str
) -> VerifiedAccessToken:
    """The request's access token, verified and holding `scope`.

    Header or form body, one of them; never the query, where logs would keep it (RFC 9700 §4.3.2).

    Raises:
        BearerError: with the status and the challenge of RFC 6750 §3.
    """
    realm = work.settings.issuer
    token = _find_token(authorization, form, query, realm)
    try:
        verified = verify_access_token(work, token)
    except InvalidToken as error:
        raise BearerError(
            "The access token is expired, revoked or malformed.", realm=realm, detail=str(error)
        ) from error
    has_scope = scope in verified.scope_set or scopes.covered(work.settings, frozenset({scope}), verified.scope_set)
    if not has_scope or verified.user is None:
        raise InsufficientScope("The access token does not have the scope this needs.", realm=realm)
    return verified


def _find_token(authorization: str | None, form: Mapping[str, str], query: Mapping[str, str], realm: str) -> str:
    if "access_token" in query:
        raise MalformedBearerRequest("An access token does not belong in a URL.", realm=realm)
    in_body = form.get("access_token")
    if authorization is None and in_body is None:
        raise MissingToken("An access token is needed.", realm=realm)
    if authorization is not None and in_body is not None:
        raise MalformedBearerRequest("The request has two access tokens.", realm=realm)
    if authorization is None:
        return in_body or ""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise MissingToken("An access token is needed.", realm=realm)
    return token.strip()
