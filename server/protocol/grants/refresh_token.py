"""The refresh token grant with rotation, reuse detection and an idempotent retry (RFC 6749 §6, RFC 9700 §4.14.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import grants

from server.domain import audit_log, scopes
from server.domain.audit_events import AuditEvent
from server.domain.clients import Client
from server.domain.grants import Grant, find_grant
from server.domain.policy.lifetimes import is_expired
from server.domain.refresh_rotation import consume_refresh_token, find_replay, keep_replay, revoke_for_reuse
from server.domain.refresh_tokens import RefreshToken, find_refresh_token, issue_refresh_token, touch_refresh_token
from server.domain.usability import why_unusable
from server.domain.users import User, find_user
from server.protocol.client_authentication.client_secret import authenticate_client
from server.protocol.errors import InvalidGrant, InvalidRequest, InvalidScope, UnauthorizedClient
from server.protocol.registered_client import RegisteredClient
from server.protocol.request import ProtocolRequest
from server.protocol.tokens.id_token import Authorized
from server.protocol.tokens.token_response import TokenAnswer, respond_to_grant


@dataclass(frozen=True)
class PresentedRefreshToken:
    """A refresh token with everything it stands for."""

    token: str
    row: RefreshToken
    grant: Grant
    user: User
    #: What the new access token may do: the requested part of the grant.
    requested: frozenset[str]


def _refusal(detail: str) -> InvalidGrant:
    return InvalidGrant("The refresh token is not valid.", detail=detail)


class RefreshTokenGrant(grants.RefreshTokenGrant):
    """RFC 6749 §6 in order: client, token, client match, scope; then consume, then issue."""

    request: ProtocolRequest

    def authenticate_token_endpoint_client(self) -> RegisteredClient:
        """One rule for all grants instead of Authlib's list of methods per grant."""
        return authenticate_client(self.request)

    def validate_token_request(self) -> None:
        """Proves everything that can be proven before the token is spent.

        Raises:
            InvalidClient, UnauthorizedClient, InvalidRequest: as RFC 6749 §5.2 says.
            InvalidGrant: when the token is unknown, another client's, or ended.
            InvalidScope: when more is asked than was granted.
        """
        client = self.authenticate_token_endpoint_client()
        if not client.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClient("The client may not use this grant type.")
        token = self.request.parameters.get("refresh_token")
        if token is None:
            raise InvalidRequest("refresh_token is missing.")
        row = find_refresh_token(self.request.work, token)
        if row is None:
            raise _refusal("unknown")
        grant, user = self._get_grant_and_user(row)
        if row.consumed_at is None:
            self._check_live(row, client.row)
        requested = self._requested_scopes(grant, is_spent=row.consumed_at is not None)
        self.request.refresh_token = PresentedRefreshToken(token, row, grant, user, requested)

    def _get_grant_and_user(self, row: RefreshToken) -> tuple[Grant, User]:
        work = self.request.work
        grant = find_grant(work, row.grant_id)
        user = find_user(work, grant.user_id) if grant else None
        reason = why_unusable(work.now, grant, user)
        if grant is None or user is None or reason is not None:
            raise _refusal(reason or "")
        return grant, user

    def _check_live(self, row: RefreshToken, client: Client) -> None:
        if row.client_id != client.id:
            raise _refusal("another client's")
        if is_expired(self.request.work.now, row.expires_at):
            raise _refusal("expired")

    def _requested_scopes(self, grant: Grant, *, is_spent: bool) -> frozenset[str]:
        requested = scopes.parse(self.request.parameters.get("scope"))
        # A spent token is not told about its scope: what it asks for matters to the replay alone.
        if not requested <= grant.scope_set and not is_spent:
            raise InvalidScope("More is asked for than was granted.")
        return requested or grant.scope_set

    def create_token_response(self) -> TokenAnswer:  # type: ignore[override]  # Authlib's stub says str
        """Spends the token and issues its successor; a spent token is a retry or a reuse.

        Raises:
            InvalidGrant: on reuse, after the family was ended.
        """
        presented: PresentedRefreshToken = self.request.refresh_token
        client = self.request.client.row
        if not (client.rotate_refresh_tokens or presented.row.consumed_at):
            response = self._issue_without_rotation(presented, client)
        elif presented.row.consumed_at is None and consume_refresh_token(self.request.work, presented.row):
            response = self._issue_successor(presented, client)
        else:
            response = self._replay_or_revoke(presented, client)
        return 200, response, list(self.TOKEN_RESPONSE_HEADER)

    def _issue_without_rotation(self, presented: PresentedRefreshToken, client: Client) -> dict[str, Any]:
        work = self.request.work
        touch_refresh_token(work, presented.row, presented.grant)
        authorized = Authorized(client, presented.user, presented.grant, presented.requested)
        return respond_to_grant(work, authorized, refresh_token=None)

    def _issue_successor(self, presented: PresentedRefreshToken, client: Client) -> dict[str, Any]:
        work, grant = self.request.work, presented.grant
        successor = issue_refresh_token(work, grant, predecessor=presented.row)
        authorized = Authorized(client, presented.user, grant, presented.requested)
        response = respond_to_grant(work, authorized, successor)
        keep_replay(work, presented.row, presented.token, scopes.format_scopes(presented.requested), response)
        audit_log.record(
            work, AuditEvent.REFRESH_TOKEN_ROTATED, user_id=grant.user_id, client_id=client.id, grant_id=grant.id
        )
        return response

    def _replay_or_revoke(self, presented: PresentedRefreshToken, client: Client) -> dict[str, Any]:
        work = self.request.work
        scope = scopes.format_scopes(presented.requested)
        response = find_replay(work, presented.token, client.id, scope)
        if response is None:
            revoke_for_reuse(work, presented.row, presented_by=client.id)
            raise _refusal("used before; the family was revoked")
        audit_log.record(
            work,
            AuditEvent.REFRESH_TOKEN_REPLAYED,
            user_id=presented.user.id,
            client_id=client.id,
            grant_id=presented.grant.id,
        )
        return response
