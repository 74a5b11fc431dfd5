"""The token response: what the token endpoint answers (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3)."""

from __future__ import annotations

from typing import Any, TypeAlias

from server.domain import audit_log, scopes, signing_keys
from server.domain.audit_events import AuditEvent
from server.domain.clients import Client, belonging_of
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.protocol.tokens.access_token import Issuance, IssuedAccessToken, issue_access_token
from server.protocol.tokens.id_token import Authorized, Beside, issue_id_token
from server.protocol.tokens.signed_response import prepare_to_encrypt

#: Status, body and headers, as Authlib passes them on.
TokenAnswer: TypeAlias = tuple[int, dict[str, Any], list[tuple[str, str]]]


def respond_to_grant(
    work: UnitOfWork, authorized: Authorized, refresh_token: str | None, nonce: str | None = None
) -> dict[str, Any]:
    """Tokens for what a person allowed: access token, ID token when `openid` was granted, refresh token if given."""
    access_token = issue_access_token(work, authorized.client, authorized.scopes, authorized.grant, authorized.issuance)
    if authorized.client.is_public:
        # The others are known to be in use since they proved who they are.
        work.runtime.usage.note_use("client", authorized.client.id, work.actor)
    response = body_of(access_token, authorized.scopes)
    if scopes.OPENID in authorized.scopes:
        response["id_token"] = issue_id_token(work, authorized, Beside(access_token.token, nonce=nonce))
    if refresh_token is not None:
        response["refresh_token"] = refresh_token
    return response


def respond_to_client(
    work: UnitOfWork, client: Client, granted: frozenset[str], grant_type: str, subject: str | None = None
) -> dict[str, Any]:
    """A token for the client itself, or for whom it names; never a refresh token (RFC 6749 §4.4.3)."""
    response = body_of(issue_access_token(work, client, granted, None, issuance_now(work), subject), granted)
    audit_log.record_soon(
        work,
        AuditEvent.TOKEN_ISSUED,
        user_id=None,
        client_id=client.id,
        grant_type=grant_type,
        scopes=sorted(granted),
        **belonging_of(client),
    )
    return response


def check_can_issue(work: UnitOfWork, client: Client) -> None:
    """Makes sure that the keys for the client's tokens are at hand, before anything is spent for them.

    Raises:
        InvalidRequest: when a token is to be encrypted to the client and it has no key for that.
        NoSigningKey: when the deployment has none, which boot prevents.
    """
    for algorithm in (client.access_token_signed_response_alg, client.id_token_signed_response_alg):
        signing_keys.signing_key(work, algorithm)
    prepare_to_encrypt(work, client)


def issuance_now(work: UnitOfWork) -> Issuance:
    """At this moment, under a new id."""
    return Issuance(work.now, secrets.new_id())


def body_of(access_token: IssuedAccessToken, granted: frozenset[str]) -> dict[str, Any]:
    """The members that every answer has (RFC 6749 §5.1)."""
    response: dict[str, Any] = {
        "access_token": access_token.token,
        "token_type": "Bearer",
        "expires_in": access_token.expires_in,
    }
    if granted:
        response["scope"] = scopes.format_scopes(granted)
    return response
