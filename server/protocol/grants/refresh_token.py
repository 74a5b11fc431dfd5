"""The refresh token grant with rotation, reuse detection and an idempotent retry (RFC 6749 §6, RFC 9700 §4.14.2)."""

from __future__ import annotations

from authlib.oauth2.rfc6749 import grants

from server.domain import audit_log, scopes
from server.domain.audit_events import AuditEvent
from server.domain.clients import Client
from server.domain.policy.lifetimes import is_expired
from server.domain.refresh_rotation import Refreshed, find_retry, refresh, revoke_for_reuse
from server.domain.refresh_tokens import KnownRefreshToken, find_refresh_token
from server.domain.usability import why_unusable
from server.infra import secrets
from server.protocol.client_authentication.client_secret import authenticate_client
from server.protocol.errors import InvalidGrant, InvalidRequest, InvalidScope, UnauthorizedClient
from server.protocol.registered_client import RegisteredClient
from server.protocol.request import ProtocolRequest
from server.protocol.tokens.access_token import Issuance
from server.protocol.tokens.id_token import Authorized
from server.protocol.tokens.token_response import TokenAnswer, check_can_issue, respond_to_grant


def _refusal(detail: str) -> InvalidGrant:
    return InvalidGrant("The refresh token is not valid.", detail=detail)


class RefreshTokenGrant(grants.RefreshTokenGrant):
    """RFC 6749 §6: who asks is proven first; whether the token may be used, the statement that spends it decides."""

    request: ProtocolRequest

    def authenticate_token_endpoint_client(self) -> RegisteredClient:
        """One rule for all grants instead of Authlib's list of methods per grant."""
        return authenticate_client(self.request)

    def validate_token_request(self) -> None:
        """Proves who asks, and that no more is asked than was granted.

        Raises:
            InvalidClient, UnauthorizedClient, InvalidRequest: as RFC 6749 §5.2 says.
            InvalidScope: when more is asked than was granted.
        """
        client = self.authenticate_token_endpoint_client()
        if not client.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClient("The client may not use this grant type.")
        if self.request.parameters.get("refresh_token") is None:
            raise InvalidRequest("refresh_token is missing.")

    def create_token_response(self) -> TokenAnswer:  # type: ignore[override]  # Authlib's stub says str
        """Spends the token and issues what follows it; a spent token is a retry or a reuse.

        Raises:
            InvalidGrant: when the token is unknown, another client's, ended, or was used before: then its family is
                ended too.
            InvalidScope: when more is asked than was granted.
        """
        work, client = self.request.work, self.request.client.row
        token = self.request.parameters.get("refresh_token") or ""
        asked = self._asked_scope(token)
        check_can_issue(work, client)
        refreshed = refresh(work, client, token, asked) or self._retried(client, token, asked)
        whole = refreshed.grant.scope_set
        # Within the grant once more: between asking and spending the token may have become live.
        granted = scopes.covered(work.settings, scopes.parse(asked), whole) if asked is not None else whole
        issuance = Issuance(refreshed.at, refreshed.jti or secrets.new_id())
        authorized = Authorized(client, refreshed.user, refreshed.grant, granted, issuance)
        work.runtime.metrics.issue(self.GRANT_TYPE, client.client_type)
        return 200, respond_to_grant(work, authorized, refreshed.successor), list(self.TOKEN_RESPONSE_HEADER)

    def _asked_scope(self, token: str) -> str | None:
        """The part of the grant that is asked for; None for all of it, said or not."""
        text = self.request.parameters.get("scope") or ""
        if not scopes.is_well_formed(text):
            raise InvalidScope("The scope is malformed.")
        requested = scopes.parse(text)
        known = find_refresh_token(self.request.work, token) if requested else None
        if known is None or requested == known.grant.scope_set:
            return None
        # A spent token is not told about its scope: what it asks for matters to the retry alone.
        is_within = scopes.covered(self.request.work.settings, requested, known.grant.scope_set) == requested
        if not is_within and self._is_live(known):
            raise InvalidScope("More is asked for than was granted.")
        return scopes.format_scopes(requested)

    def _is_live(self, known: KnownRefreshToken) -> bool:
        work, row = self.request.work, known.row
        is_theirs = row.client_id == self.request.client.row.id
        is_open = row.consumed_at is None and not is_expired(work.now, row.expires_at)
        return is_theirs and is_open and why_unusable(work.now, known.grant, known.user) is None

    def _retried(self, client: Client, token: str, asked: str | None) -> Refreshed:
        """What a refused token may have after all: the answer that spent it, if this is a retry of that request.

        Raises:
            InvalidGrant: when it is not; a reuse ends the family.
        """
        work = self.request.work
        known = find_refresh_token(work, token)
        if known is None:
            raise _refusal("unknown")
        reason = why_unusable(work.now, known.grant, known.user)
        if reason is not None:
            raise _refusal(reason)
        if known.row.consumed_at is None:
            raise _refusal("another client's" if known.row.client_id != client.id else "expired")
        refreshed = find_retry(work, client, token, known, asked)
        if refreshed is None:
            revoke_for_reuse(work, known, presented_by=client.id)
            raise _refusal("used before; the family was revoked")
        audit_log.record(
            work,
            AuditEvent.REFRESH_TOKEN_REPLAYED,
            user_id=known.user.id,
            client_id=client.id,
            grant_id=known.grant.id,
        )
        return refreshed
