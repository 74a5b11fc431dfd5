"""The authorization code grant (RFC 6749 §4.1, OpenID Connect Core §3.1.3)."""

from __future__ import annotations

from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc6749.models import AuthorizationCodeMixin

from server.domain import refresh_tokens, scopes
from server.domain.authorization_codes import (
    KnownCode,
    find_authorization_code,
    redeem_authorization_code,
    revoke_for_reuse,
)
from server.domain.clients import Client
from server.domain.grants import Grant
from server.domain.policy.lifetimes import is_expired
from server.domain.usability import why_unusable
from server.infra import secrets
from server.protocol.client_authentication.client_secret import authenticate_client
from server.protocol.errors import InvalidGrant
from server.protocol.registered_client import RegisteredClient
from server.protocol.request import ProtocolRequest
from server.protocol.tokens.id_token import Authorized
from server.protocol.tokens.token_response import TokenAnswer, check_can_issue, issuance_now, respond_to_grant


class PresentedCode(AuthorizationCodeMixin):
    """A code with the grant and the person behind it, in the shape that Authlib asks questions of."""

    def __init__(self, known: KnownCode) -> None:
        self.known = known

    def get_redirect_uri(self) -> str:
        """The redirect URI that the code was sent to."""
        return self.known.row.redirect_uri

    @property
    def code_challenge(self) -> str | None:
        """The PKCE challenge of the authorization request."""
        return self.known.row.code_challenge


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):
    """Authlib's validation, our consumption: the code is spent before anything is issued, in one transaction."""

    request: ProtocolRequest

    def authenticate_token_endpoint_client(self) -> RegisteredClient:
        """One rule for all grants instead of Authlib's list of methods per grant."""
        return authenticate_client(self.request)

    def query_authorization_code(  # type: ignore[override]  # every client here is registered
        self, code: str, client: RegisteredClient
    ) -> PresentedCode:
        """The code, if it may be redeemed or was redeemed before, which `create_token_response` tells.

        Raises:
            InvalidGrant: when it is unknown, expired, another client's, or somebody behind it may no longer act.
        """
        work = self.request.work
        known = find_authorization_code(work, code)
        if known is None or known.row.client_id != client.row.id:
            raise InvalidGrant("The authorization code is not valid.", detail="unknown, or another client's")
        if known.row.consumed_at is None and is_expired(work.now, known.row.expires_at):
            raise InvalidGrant("The authorization code is not valid.", detail="expired")
        reason = why_unusable(work.now, known.grant, known.user)
        if reason is not None:
            raise InvalidGrant("The authorization code is not valid.", detail=reason)
        return PresentedCode(known)

    def create_token_response(self) -> TokenAnswer:  # type: ignore[override]  # Authlib's stub says str
        """Prepares the answer, then consumes the code: who cannot be answered has not spent it.

        A second fully valid redemption ends what the first one gave.

        Raises:
            InvalidGrant: when the code was spent before (RFC 6749 §4.1.2).
        """
        work, client = self.request.work, self.request.client.row
        presented: PresentedCode = self.request.authorization_code
        known, grant = presented.known, presented.known.grant
        if known.row.consumed_at is not None:
            raise self._reused(known)
        check_can_issue(work, client)
        refresh_token = secrets.new_secret(refresh_tokens.PREFIX) if _gets_refresh_token(client, grant) else None
        authorized = Authorized(client, known.user, grant, grant.scope_set, issuance_now(work))
        response = respond_to_grant(work, authorized, refresh_token, nonce=grant.nonce)
        if not redeem_authorization_code(work, known, refresh_token):
            raise self._reused(known)
        work.runtime.metrics.issue(self.GRANT_TYPE, client.client_type)
        return 200, response, list(self.TOKEN_RESPONSE_HEADER)

    def _reused(self, known: KnownCode) -> InvalidGrant:
        revoke_for_reuse(self.request.work, known)
        return InvalidGrant("The authorization code is not valid.", detail="used before")


def _gets_refresh_token(client: Client, grant: Grant) -> bool:
    """OpenID Connect Core §11: for `offline_access`, or wherever the client's registration says always."""
    if "refresh_token" not in client.grant_types:
        return False
    return client.refresh_token_policy == "always" or scopes.OFFLINE_ACCESS in grant.scope_set
