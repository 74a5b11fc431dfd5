"""The authorization code grant (RFC 6749 §4.1, OpenID Connect Core §3.1.3)."""

from __future__ import annotations

from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc6749.models import AuthorizationCodeMixin

from server.domain import scopes
from server.domain.authorization_codes import (
    AuthorizationCode,
    consume_authorization_code,
    find_authorization_code,
    issue_authorization_code,
    revoke_for_reuse,
)
from server.domain.clients import Client
from server.domain.grants import Grant, find_grant
from server.domain.policy.lifetimes import is_expired
from server.domain.refresh_tokens import issue_refresh_token
from server.domain.usability import why_unusable
from server.domain.users import User, find_user
from server.protocol.client_authentication.client_secret import authenticate_client
from server.protocol.errors import InvalidGrant
from server.protocol.registered_client import RegisteredClient
from server.protocol.request import ProtocolRequest
from server.protocol.tokens.id_token import Authorized
from server.protocol.tokens.token_response import TokenAnswer, respond_to_grant


class PresentedCode(AuthorizationCodeMixin):
    """A code with the grant and the person behind it, in the shape that Authlib asks questions of."""

    def __init__(self, row: AuthorizationCode, grant: Grant, user: User) -> None:
        self.row, self.grant, self.user = row, grant, user

    def get_redirect_uri(self) -> str:
        """The redirect URI that the code was sent to."""
        return self.row.redirect_uri

    @property
    def code_challenge(self) -> str | None:
        """The PKCE challenge of the authorization request."""
        return self.row.code_challenge


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
        row = find_authorization_code(work, code)
        if row is None or row.client_id != client.row.id:
            raise InvalidGrant("The authorization code is not valid.", detail="unknown, or another client's")
        if row.consumed_at is None and is_expired(work.now, row.expires_at):
            raise InvalidGrant("The authorization code is not valid.", detail="expired")
        grant = find_grant(work, row.grant_id)
        user = find_user(work, grant.user_id) if grant else None
        reason = why_unusable(work.now, grant, user)
        if grant is None or user is None or reason is not None:
            raise InvalidGrant("The authorization code is not valid.", detail=reason or "")
        return PresentedCode(row, grant, user)

    def create_token_response(self) -> TokenAnswer:  # type: ignore[override]  # Authlib's stub says str
        """Consumes the code, then issues. A second fully valid redemption ends what the first one gave.

        Raises:
            InvalidGrant: when the code was spent before (RFC 6749 §4.1.2).
        """
        work, client = self.request.work, self.request.client.row
        presented: PresentedCode = self.request.authorization_code
        if not consume_authorization_code(work, presented.row):
            revoke_for_reuse(work, presented.row)
            raise InvalidGrant("The authorization code is not valid.", detail="used before")
        grant = presented.grant
        refresh_token = issue_refresh_token(work, grant) if _gets_refresh_token(client, grant) else None
        authorized = Authorized(client, presented.user, grant, grant.scope_set)
        response = respond_to_grant(work, authorized, refresh_token, nonce=grant.nonce)
        return 200, response, list(self.TOKEN_RESPONSE_HEADER)

    def issue_code(self, grant: Grant, redirect_uri: str, code_challenge: str | None) -> str:
        """The authorization endpoint's half: the code for a consented grant."""
        return issue_authorization_code(self.request.work, grant, redirect_uri, code_challenge)


def _gets_refresh_token(client: Client, grant: Grant) -> bool:
    """OpenID Connect Core §11: for `offline_access`, or wherever the client's registration says always."""
    if "refresh_token" not in client.grant_types:
        return False
    return client.refresh_token_policy == "always" or scopes.OFFLINE_ACCESS in grant.scope_set
