"""Token exchange: an API key for a short-lived JWT that APIs verify offline (RFC 8693).

The key is the credential, so a client need not authenticate too (§2.1); one that does has to be of the key's world.
"""

from __future__ import annotations

from typing import Final

from authlib.oauth2.rfc6749.grants import BaseGrant, TokenEndpointMixin

from server.domain import audit_log, scopes
from server.domain.api_key_verification import KeyRefused, VerifiedApiKey, verify_api_key
from server.domain.audit_events import AuditEvent
from server.domain.credential_limits import spend_request
from server.domain.policy.client_metadata import TOKEN_EXCHANGE
from server.protocol.client_authentication.client_secret import authenticate_client
from server.protocol.client_authentication.presented import is_client_presented
from server.protocol.errors import InvalidRequest, InvalidScope, InvalidTarget, UnauthorizedClient
from server.protocol.request import ProtocolRequest
from server.protocol.tokens.access_token import IssuedAccessToken, audience_in
from server.protocol.tokens.key_token import issue_key_token
from server.protocol.tokens.token_response import TokenAnswer, body_of

#: §3 leaves it to deployments to name kinds of their own.
API_KEY_TYPE: Final = "urn:gatepost:params:oauth:token-type:api_key"
ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"
#: What may be asked for; both are the same token (RFC 9068), by the name that was asked for.
_ISSUED_TYPES: Final = (ACCESS_TOKEN_TYPE, "urn:ietf:params:oauth:token-type:jwt")
_REFUSED: Final = "The subject_token is not valid."


class TokenExchangeGrant(BaseGrant, TokenEndpointMixin):
    """Impersonation only: the token is the key's, and nobody acts for anybody."""

    request: ProtocolRequest
    GRANT_TYPE = TOKEN_EXCHANGE

    def validate_token_request(self) -> None:
        """What is asked for is something we give, and a client that names itself is who it says (§2.1).

        Raises:
            InvalidClient, UnauthorizedClient: when the client is not, or may not.
            InvalidRequest: when a parameter is missing, or asks for what there is not.
        """
        parameters = self.request.parameters
        if is_client_presented(self.request):
            client = authenticate_client(self.request)
            if not client.check_grant_type(self.GRANT_TYPE):
                raise UnauthorizedClient("The client may not use this grant type.")
        for name in ("subject_token", "subject_token_type"):
            if parameters.get(name) is None:
                raise InvalidRequest(f"{name} is missing.")
        if parameters.get("subject_token_type") != API_KEY_TYPE:
            raise InvalidRequest("This subject_token_type is not supported.")
        if parameters.get("actor_token") is not None or parameters.get("actor_token_type") is not None:
            raise InvalidRequest("Nobody can act for an API key.")
        if parameters.get("requested_token_type") not in (None, *_ISSUED_TYPES):
            raise InvalidRequest("This requested_token_type is not supported.")
        if not scopes.is_well_formed(parameters.get("scope") or ""):
            raise InvalidScope("The scope is malformed.")

    def create_token_response(self) -> TokenAnswer:  # type: ignore[override]  # Authlib's stub says str
        """Issues within what the key may do, reach and live.

        Raises:
            InvalidRequest: when the key may not be used (§2.2.2).
            InvalidTarget: when the token is wanted for somebody else.
            InvalidScope: when more is asked than the key may do.
            TooMany: when the key has been used as often as it may be in a minute.
        """
        verified = self._verified_key()
        key = verified.key
        work = self.request.work = self.request.work.acting_as("api_key", key.id)
        self._check_target(key.environment)
        granted = self._granted(verified)
        issued = issue_key_token(work, verified, granted)
        if issued is None:
            raise InvalidRequest(_REFUSED, detail="the key ends this second")
        audit_log.record_soon(
            work,
            AuditEvent.API_KEY_EXCHANGED,
            client_id=self.request.client.row.id if self.request.client is not None else None,
            organization_id=key.organization_id,
            environment=key.environment,
            key_id=key.id,
            scopes=sorted(granted),
        )
        work.runtime.metrics.issue(self.GRANT_TYPE, "api_key")
        return 200, self._body(issued, granted), list(self.TOKEN_RESPONSE_HEADER)

    def _verified_key(self) -> VerifiedApiKey:
        try:
            verified = verify_api_key(self.request.work, self.request.parameters.get("subject_token") or "")
        except KeyRefused as error:
            raise InvalidRequest(_REFUSED, detail=error.reason) from error
        key, client = verified.key, self.request.client
        if client is not None and client.row.environment != key.environment:
            raise InvalidRequest(_REFUSED, detail="of the other environment than the client")
        if client is not None and client.row.organization_id not in (None, key.organization_id):
            raise InvalidRequest(_REFUSED, detail="of another organization than the client's")
        # The same count as at verification; APIs that verify the token offline count its uses themselves.
        spend_request(self.request.work, key.id, key.rate_limit_per_minute)
        return verified

    def _check_target(self, environment: str) -> None:
        """The one audience there is for the key's environment (§2.1, RFC 8707 §2)."""
        expected = audience_in(environment, self.request.work.settings.audience)
        for name in ("audience", "resource"):
            if any(value != expected for value in self.request.parameters.datalist.get(name, ())):
                raise InvalidTarget("Tokens for this audience or resource are not issued to this key.")

    def _granted(self, verified: VerifiedApiKey) -> frozenset[str]:
        asked = scopes.parse(self.request.parameters.get("scope"))
        if not asked:
            return verified.rights.granted - scopes.PERSONAL
        if asked & scopes.PERSONAL or not verified.rights.allows_all(asked):
            raise InvalidScope("More is asked for than the key may do.")
        return asked

    def _body(self, issued: IssuedAccessToken, granted: frozenset[str]) -> dict[str, object]:
        """§2.2.1."""
        asked = self.request.parameters.get("requested_token_type")
        return {**body_of(issued, granted), "issued_token_type": asked or ACCESS_TOKEN_TYPE}
