"""What a request presents to authenticate its client: exactly one method, or it is refused (RFC 6749 §2.3)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import unquote_plus

from server.protocol.errors import InvalidClient, InvalidRequest
from server.protocol.request import ProtocolRequest


@dataclass(frozen=True)
class PresentedCredentials:
    """One client's claim to be who it is."""

    method: str
    client_id: str
    secret: str | None = None


def presented_credentials(request: ProtocolRequest) -> PresentedCredentials:
    """Reads the client's credentials from header or body.

    Raises:
        InvalidRequest: when two methods are presented, or two client ids.
        InvalidClient: when nothing usable is presented.
    """
    authorization = request.headers.get("Authorization")
    client_id, secret = request.parameters.get("client_id"), request.parameters.get("client_secret")
    if request.parameters.get("client_assertion") is not None:
        raise InvalidClient(detail="client assertions are not supported")
    if authorization is not None:
        basic = _parse_basic(authorization, realm=request.work.settings.issuer)
        if secret is not None:
            raise InvalidRequest("The client used more than one authentication method.")
        if client_id is not None and client_id != basic.client_id:
            raise InvalidRequest("The client_id differs from the authenticated client.")
        return basic
    if client_id is None:
        raise InvalidClient(detail="no client authentication")
    if secret is not None:
        return PresentedCredentials("client_secret_post", client_id, secret)
    return PresentedCredentials("none", client_id)


def _parse_basic(header: str, realm: str) -> PresentedCredentials:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient(detail="the Authorization header is not Basic", realm=realm)
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
        # RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
        client_id, colon, secret = text.partition(":")
        client_id, secret = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except ValueError as error:
        raise InvalidClient(detail="the Basic credentials cannot be decoded", realm=realm) from error
    if not colon or not client_id or not secret:
        raise InvalidClient(detail="the Basic credentials are incomplete", realm=realm)
    return PresentedCredentials("client_secret_basic", client_id, secret)
