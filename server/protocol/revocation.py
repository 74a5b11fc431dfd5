"""Token revocation (RFC 7009): a refresh token ends its grant and all under it, an access token only itself."""

from __future__ import annotations

from typing import TypeAlias

from authlib.oauth2.rfc7009 import RevocationEndpoint as AuthlibRevocation

from server.domain.access_tokens import revoke_access_token
from server.domain.grants import revoke_grant
from server.protocol.client_authentication.client_secret import authenticate_client
from server.protocol.errors import InvalidRequest
from server.protocol.presented_token import PresentedRefreshToken, SignedAccessToken, find_token_of
from server.protocol.registered_client import RegisteredClient
from server.protocol.request import ProtocolRequest

RevocableToken: TypeAlias = SignedAccessToken | PresentedRefreshToken


class RevocationEndpoint(AuthlibRevocation):
    """For every client, public ones included, about its own tokens."""

    def authenticate_endpoint_client(self, request: ProtocolRequest) -> RegisteredClient:
        """The registered method, also `none`."""
        return authenticate_client(request)

    def authenticate_token(self, request: ProtocolRequest, client: RegisteredClient) -> RevocableToken | None:
        """The client's own token; an unknown one and another's are the same to it (§2.1, §2.2).

        A spent refresh token counts: whoever signs out while a refresh is under way means the successor too.

        Raises:
            InvalidRequest: when `token` is missing.
        """
        token = request.parameters.get("token")
        if token is None:
            raise InvalidRequest("token is missing.")
        return find_token_of(request.work, client.row, token)

    def revoke_token(self, token: RevocableToken, request: ProtocolRequest) -> None:
        """Ends the token."""
        if isinstance(token, PresentedRefreshToken):
            revoke_grant(request.work, token.grant, "revoked_by_client")
        else:
            revoke_access_token(request.work, token.jti, token.client_id, token.expires_at)

    def create_endpoint_response(  # type: ignore[override]  # ours is the only request type there is
        self, request: ProtocolRequest
    ) -> tuple[int, None, list[tuple[str, str]]]:
        """200 without a body: browsers' clients trip over a content type that promises one."""
        super().create_endpoint_response(request)  # type: ignore[no-untyped-call]  # Authlib's stub
        return 200, None, [("Cache-Control", "no-store")]
