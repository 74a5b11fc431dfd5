"""The client credentials grant (RFC 6749 §4.4)."""

from __future__ import annotations

from authlib.oauth2.rfc6749 import grants

from server.domain import scopes
from server.protocol.client_authentication.client_secret import authenticate_client
from server.protocol.errors import InvalidScope
from server.protocol.registered_client import RegisteredClient
from server.protocol.request import ProtocolRequest
from server.protocol.tokens.token_response import TokenAnswer, respond_to_client


class ClientCredentialsGrant(grants.ClientCredentialsGrant):
    """The client acts for itself: no person, no refresh token, no scope that speaks about a person."""

    request: ProtocolRequest

    def authenticate_token_endpoint_client(self) -> RegisteredClient:
        """One rule for all grants; a public client cannot act for itself."""
        return authenticate_client(self.request, allow_public=False)

    def create_token_response(self) -> TokenAnswer:  # type: ignore[override]  # Authlib's stub says str
        """Issues within the client's scopes; without `scope` all of them (§3.3).

        Raises:
            InvalidScope: when the request asks for a scope the client does not have.
        """
        client = self.request.client.row
        allowed = client.allowed_scopes - scopes.PERSONAL
        requested = scopes.parse(self.request.parameters.get("scope"))
        if scopes.covered(self.request.work.settings, requested, allowed) != requested:
            raise InvalidScope("The client may not have one of the requested scopes.")
        response = respond_to_client(self.request.work, client, requested or allowed, self.GRANT_TYPE)
        self.request.work.runtime.metrics.issue(self.GRANT_TYPE, client.client_type)
        return 200, response, list(self.TOKEN_RESPONSE_HEADER)
