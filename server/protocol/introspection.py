"""Token introspection (RFC 7662): the whole truth for those entitled to it, `{"active": false}` for all others."""

from __future__ import annotations

from typing import Any, TypeAlias

from authlib.oauth2.rfc7662 import IntrospectionEndpoint as AuthlibIntrospection

from server.domain import scopes
from server.protocol.client_authentication.client_secret import authenticate_client
from server.protocol.errors import InvalidRequest
from server.protocol.presented_token import PresentedRefreshToken, find_live_token
from server.protocol.registered_client import RegisteredClient
from server.protocol.request import ProtocolRequest
from server.protocol.tokens.access_token import VerifiedAccessToken

LiveToken: TypeAlias = VerifiedAccessToken | PresentedRefreshToken


class IntrospectionEndpoint(AuthlibIntrospection):
    """For confidential clients: about their own tokens, and about all if they are resource servers."""

    def authenticate_endpoint_client(self, request: ProtocolRequest) -> RegisteredClient:
        """A public client proves nothing and so learns nothing (§2.1)."""
        return authenticate_client(request, allow_public=False)

    def authenticate_token(self, request: ProtocolRequest, client: RegisteredClient) -> LiveToken | None:
        """The token, if it is live and the client may know; unknown hints are ignored (§2.1).

        Raises:
            InvalidRequest: when `token` is missing.
        """
        token = request.parameters.get("token")
        if token is None:
            raise InvalidRequest("token is missing.")
        live = find_live_token(request.work, token)
        may_know = live is not None and (client.row.may_introspect_any or live.client.id == client.row.id)
        return live if may_know else None

    def create_introspection_payload(self, token: LiveToken | None) -> dict[str, Any]:
        """The response's body (§2.2)."""
        if token is None:
            return {"active": False}
        return (
            _describe_refresh_token(token)
            if isinstance(token, PresentedRefreshToken)
            else _describe_access_token(token)
        )


def _describe_access_token(token: VerifiedAccessToken) -> dict[str, Any]:
    names = ("iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti", "auth_time", "acr", "amr")
    body = {name: token.claims[name] for name in names if name in token.claims}
    if token.user is not None and "email" in token.scope_set:
        body["username"] = token.user.email
    return {"active": True, "token_type": "Bearer", **body}


def _describe_refresh_token(token: PresentedRefreshToken) -> dict[str, Any]:
    return {
        "active": True,
        "token_type": "refresh_token",
        "client_id": token.client.id,
        "sub": token.subject,
        "scope": scopes.format_scopes(token.grant.scope_set),
        "iat": int(token.row.created_at.timestamp()),
        "exp": int(token.row.expires_at.timestamp()),
    }
