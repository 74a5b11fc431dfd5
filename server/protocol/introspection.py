"""Token introspection (RFC 7662): the whole truth for those entitled to it, `{"active": false}` for all others."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from authlib.oauth2.rfc7662 import IntrospectionEndpoint as AuthlibIntrospection

from server.domain import scopes
from server.domain.api_key_verification import VerifiedApiKey
from server.domain.api_keys import ApiKey
from server.domain.clients import Client
from server.domain.memberships import find_membership
from server.domain.organization_clients import reach_of_token
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.users import User
from server.protocol.client_authentication.client_secret import authenticate_client
from server.protocol.client_token import ClientToken, ClientTokenRefused, use_client_token
from server.protocol.errors import InvalidRequest
from server.protocol.presented_token import LiveToken, OfKey, PresentedRefreshToken, find_live_token
from server.protocol.registered_client import RegisteredClient
from server.protocol.request import ProtocolRequest
from server.protocol.tokens.access_token import VerifiedAccessToken, audience_in
from server.protocol.tokens.key_token import VerifiedKeyToken

_ACCESS_TOKEN_CLAIMS: Final = (
    "iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti", "auth_time", "acr", "amr", "organization_id",
    "environment",
)  # fmt: skip
_CLIENT_TOKEN_CLAIMS: Final = ("iss", "sub", "aud", "iat", "exp", "jti")


class IntrospectionEndpoint(AuthlibIntrospection):
    """For confidential clients: about their own tokens and their organization's keys; resource servers ask about all.

    All of it within the world that the client belongs to: what is for testing is nothing to those who are live.
    """

    def authenticate_endpoint_client(self, request: ProtocolRequest) -> RegisteredClient:
        """A public client proves nothing and so learns nothing (§2.1)."""
        return authenticate_client(request, allow_public=False)

    def authenticate_token(self, request: ProtocolRequest, client: RegisteredClient) -> dict[str, Any] | None:
        """What there is to tell of the token, if it is live and the client may know; hints are ignored (§2.1).

        Raises:
            InvalidRequest: when `token` is missing, or `client_ip` is no address.
        """
        token = request.parameters.get("token")
        if token is None:
            raise InvalidRequest("token is missing.")
        live = find_live_token(request.work, token, _address(request.parameters.get("client_ip")))
        if live is None or not _may_know(client.row, live) or _is_of_suspended_member(request.work, live):
            return None
        if not _is_unused(request.work, live):
            return None
        return _describe(request.work, live)

    def create_introspection_payload(self, token: dict[str, Any] | None) -> dict[str, Any]:
        """The response's body (§2.2)."""
        return {"active": False} if token is None else {"active": True, **token}


def _address(text: str | None) -> str | None:
    """Where the resource server was asked from: further context that we define ourselves (§2.1)."""
    if text is None:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise InvalidRequest("client_ip is not an IP address.") from error
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        # Which of its own networks it means nobody else knows.
        raise InvalidRequest("client_ip is not an IP address.")
    return str(address)


def _may_know(client: Client, live: LiveToken) -> bool:
    """Whether the token is any of the client's business."""
    of: ApiKey | Client
    match live:
        case VerifiedApiKey():
            of = live.key
        case VerifiedKeyToken():
            of = live.key.key
        case _:
            of = live.client
    if of is client or of.id == client.id:
        return True
    if client.environment != of.environment or client.organization_id not in (None, of.organization_id):
        return False
    return client.may_introspect_any or (isinstance(live, OfKey) and client.organization_id is not None)


def _is_of_suspended_member(work: UnitOfWork, live: LiveToken) -> bool:
    """Whether the person is suspended in the client's organization; who never belonged to it is a customer of its."""
    if not isinstance(live, VerifiedAccessToken | PresentedRefreshToken):
        return False
    if live.user is None or live.client.organization_id is None:
        return False
    membership = find_membership(work, live.client.organization_id, live.user.id)
    return membership is not None and not is_usable(work.now, membership)


def _is_unused(work: UnitOfWork, live: LiveToken) -> bool:
    """Uses up what counts once; only for those who may know, so that nobody else can."""
    if isinstance(live, ClientToken):
        try:
            use_client_token(work, live)
        except ClientTokenRefused as error:
            work.runtime.usage.note_failure("client", live.client.id, str(error), work.actor)
            return False
        work.runtime.usage.note_use("client", live.client.id, work.actor)
    return True


def _describe(work: UnitOfWork, live: LiveToken) -> dict[str, Any] | None:
    match live:
        case VerifiedAccessToken():
            return _describe_access_token(work, live)
        case PresentedRefreshToken():
            return _describe_refresh_token(live)
        case ClientToken():
            return _describe_client_token(work, live)
        case VerifiedKeyToken():
            claims = {name: live.claims[name] for name in _ACCESS_TOKEN_CLAIMS if name in live.claims}
            scope = scopes.format_scopes(live.rights(work).granted)
            return {"token_type": "Bearer", **claims, "scope": scope}
        case VerifiedApiKey():
            return _describe_api_key(work, live)


def _scope_now(
    work: UnitOfWork, client: Client, user: User | None, scope_set: frozenset[str]
) -> tuple[str | None, str] | None:
    """The organization that the token speaks in and what is left of its scope there; None when it is good for nothing.

    What speaks about a person is theirs to give, and no matter of their role.
    """
    if client.organization_id is None:
        return None, scopes.format_scopes(scope_set)
    reach = reach_of_token(work, client, user, scopes.rights(work.settings, scope_set))
    return (reach[0], scopes.format_scopes(reach[1].granted | scope_set & scopes.PERSONAL)) if reach else None


def _describe_access_token(work: UnitOfWork, token: VerifiedAccessToken) -> dict[str, Any] | None:
    now = _scope_now(work, token.client, token.user, token.scope_set)
    if now is None:
        return None
    organization_id, scope = now
    body = {name: token.claims[name] for name in _ACCESS_TOKEN_CLAIMS if name in token.claims}
    if token.client.organization_id is not None:
        body["scope"] = scope
        if organization_id is None:
            body.pop("organization_id", None)
    if token.user is not None and "email" in token.scope_set:
        body["username"] = token.user.email
    return {"token_type": "Bearer", **body}


def _describe_refresh_token(token: PresentedRefreshToken) -> dict[str, Any]:
    return {
        "token_type": "refresh_token",
        "client_id": token.client.id,
        "sub": token.subject,
        "scope": scopes.format_scopes(token.grant.scope_set),
        "iat": int(token.row.created_at.timestamp()),
        "exp": int(token.row.expires_at.timestamp()),
    }


def _describe_client_token(work: UnitOfWork, token: ClientToken) -> dict[str, Any] | None:
    client = token.client
    now = _scope_now(work, client, None, token.scope_set)
    if now is None:
        return None
    belonging = {} if client.organization_id is None else {"organization_id": client.organization_id}
    return {
        "token_type": "client_token",
        **{name: token.claims[name] for name in _CLIENT_TOKEN_CLAIMS if name in token.claims},
        "client_id": client.id,
        "scope": now[1],
        **belonging,
        "environment": client.environment,
    }


def _describe_api_key(work: UnitOfWork, verified: VerifiedApiKey) -> dict[str, Any]:
    """What an API needs to decide; a key has no client, and what it is called is its organization's own affair."""
    key = verified.key
    ends = {} if key.expires_at is None else {"exp": int(key.expires_at.timestamp())}
    return {
        "token_type": "api_key",
        "iss": work.settings.issuer,
        "sub": key.id,
        "aud": audience_in(key.environment, work.settings.audience),
        "scope": scopes.format_scopes(verified.rights.granted),
        "organization_id": key.organization_id,
        "environment": key.environment,
        "iat": int(key.created_at.timestamp()),
        **ends,
    }
