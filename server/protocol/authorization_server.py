"""Our Authlib server: the list of everything Gatepost speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from authlib.oauth2.rfc6749 import AuthorizationServer as AuthlibServer

from server.protocol.errors import InvalidRequest, UnsupportedGrantType
from server.protocol.grants.authorization_code import AuthorizationCodeGrant
from server.protocol.grants.client_credentials import ClientCredentialsGrant
from server.protocol.grants.jwt_bearer import JwtBearerGrant
from server.protocol.grants.refresh_token import RefreshTokenGrant
from server.protocol.grants.token_exchange import TokenExchangeGrant
from server.protocol.introspection import IntrospectionEndpoint
from server.protocol.pkce import ProofKey
from server.protocol.request import ProtocolRequest
from server.protocol.revocation import RevocationEndpoint

#: Every grant with its extensions.
GRANTS: Final = (
    (AuthorizationCodeGrant, (ProofKey(),)),
    (RefreshTokenGrant, ()),
    (ClientCredentialsGrant, ()),
    (TokenExchangeGrant, ()),
    (JwtBearerGrant, ()),
)
GRANT_TYPES: Final = tuple(str(grant_class.GRANT_TYPE) for grant_class, _ in GRANTS)


class EndpointResponse(NamedTuple):
    """A machine endpoint's answer; a body of None is empty, one of bytes is written already."""

    status: int
    body: Mapping[str, Any] | bytes | None
    headers: Sequence[tuple[str, str]]


class AuthorizationServer(AuthlibServer):
    """Authlib's dispatch over our grants and endpoints. Stateless: what a request needs travels in the request."""

    def __init__(self) -> None:
        super().__init__()
        self._grants = dict(zip(GRANT_TYPES, GRANTS, strict=True))
        self.register_endpoint(IntrospectionEndpoint)
        self.register_endpoint(RevocationEndpoint)

    def create_oauth2_request(self, request: ProtocolRequest) -> ProtocolRequest:
        """Requests arrive adapted already."""
        return request

    def handle_response(  # type: ignore[override]  # Authlib leaves the type to the framework
        self, status: int, body: Mapping[str, Any] | None, headers: Sequence[tuple[str, str]]
    ) -> EndpointResponse:
        """Leaves the bytes to the web ring."""
        return EndpointResponse(status, body, headers)

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens: audit events are written by the rules themselves."""

    def get_token_grant(self, request: ProtocolRequest) -> Any:  # type: ignore[override]
        """The grant that `grant_type` names.

        Raises:
            InvalidRequest: when it is missing.
            UnsupportedGrantType: when there is none of that name.
        """
        grant_type = request.parameters.get("grant_type")
        if grant_type is None:
            raise InvalidRequest("grant_type is missing.")
        known = self._grants.get(grant_type)
        if known is None:
            raise UnsupportedGrantType("This grant_type is not supported.")
        grant_class, extensions = known
        grant = grant_class(request, self)
        for extend in extensions:
            extend(grant)
        return grant

    def answer_token_request(self, request: ProtocolRequest) -> EndpointResponse:
        """The token endpoint (RFC 6749 §3.2).

        Raises:
            OAuth2Error: whatever is raised outside Authlib's own catching; the web ring turns it into bytes.
        """
        request.parameters.check_not_repeated()
        return cast(EndpointResponse, self.create_token_response(request))

    def answer_endpoint(self, name: str, request: ProtocolRequest) -> EndpointResponse:
        """Introspection or revocation.

        Raises:
            OAuth2Error: as `answer_token_request`.
        """
        request.parameters.check_not_repeated()
        return cast(EndpointResponse, self.create_endpoint_response(name, request))  # type: ignore[no-untyped-call]
