"""A token that a client made, as a grant: it becomes an access token of ours (RFC 7523 §2.1)."""

from __future__ import annotations

from authlib.oauth2.rfc6749.grants import BaseGrant, TokenEndpointMixin

from server.domain import scopes
from server.domain.policy.client_metadata import JWT_BEARER
from server.protocol.client_authentication.client_secret import authenticate_client
from server.protocol.client_authentication.presented import is_client_presented
from server.protocol.client_token import (
    GRANT_TYPES,
    ClientToken,
    ClientTokenRefused,
    check_may_present,
    note_refusal,
    use_client_token,
    verify_client_token,
)
from server.protocol.errors import InvalidGrant, InvalidRequest, InvalidScope
from server.protocol.request import ProtocolRequest
from server.protocol.tokens.token_response import TokenAnswer, respond_to_client


class JwtBearerGrant(BaseGrant, TokenEndpointMixin):
    """The signature says who asks; a client that authenticates too has to be the same one (RFC 7521 §4.1)."""

    request: ProtocolRequest
    GRANT_TYPE = JWT_BEARER

    def validate_token_request(self) -> None:
        """A client that names itself is who it says.

        Raises:
            InvalidClient: when it is not.
            InvalidRequest: when there is no assertion.
            InvalidScope: when the scope is malformed.
        """
        if is_client_presented(self.request):
            authenticate_client(self.request)
        if self.request.parameters.get("assertion") is None:
            raise InvalidRequest("assertion is missing.")
        if not scopes.is_well_formed(self.request.parameters.get("scope") or ""):
            raise InvalidScope("The scope is malformed.")

    def create_token_response(self) -> TokenAnswer:  # type: ignore[override]  # Authlib's stub says str
        """Uses the assertion up and issues within it.

        Raises:
            InvalidGrant: when the assertion is not valid (RFC 7523 §3.1).
            InvalidScope: when more is asked than it allows.
            TooMany: when too many tokens in the client's name were wrong.
        """
        try:
            token = self._proven()
            granted = self._granted(token)
            use_client_token(self.request.work, token)
        except ClientTokenRefused as error:
            note_refusal(self.request.work, error)
            raise InvalidGrant("The assertion is not valid.", detail=str(error)) from error
        client = token.client
        work = self.request.work = self.request.work.acting_as("client", client.id)
        work.runtime.usage.note_use("client", client.id, work.actor)
        response = respond_to_client(work, client, granted, self.GRANT_TYPE, token.subject)
        work.runtime.metrics.issue(self.GRANT_TYPE, client.client_type)
        return 200, response, list(self.TOKEN_RESPONSE_HEADER)

    def _proven(self) -> ClientToken:
        assertion = self.request.parameters.get("assertion") or ""
        check_may_present(self.request.work, assertion)
        token = verify_client_token(self.request.work, assertion, GRANT_TYPES)
        authenticated = self.request.client
        if authenticated is not None and authenticated.row.id != token.client.id:
            raise ClientTokenRefused("another client's", token.client)
        return token

    def _granted(self, token: ClientToken) -> frozenset[str]:
        asked = scopes.parse(self.request.parameters.get("scope"))
        if scopes.covered(self.request.work.settings, asked, token.scope_set) != asked:
            raise InvalidScope("More is asked for than the assertion allows.")
        return asked or token.scope_set
