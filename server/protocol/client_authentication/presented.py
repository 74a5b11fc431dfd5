"""What a request presents to authenticate its client: exactly one method, or it is refused (RFC 6749 §2.3)."""

from __future__ import annotations

import base64
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

from server.infra import jose
from server.protocol.errors import InvalidClient, InvalidRequest
from server.protocol.request import ProtocolRequest

#: RFC 7523 §2.2.
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class PresentedCredentials(NamedTuple):
    """One client's claim to be who it is: a secret, an assertion, or nothing but its name."""

    method: str
    client_id: str
    secret: str | None = None
    assertion: str | None = None


def presented_credentials(request: ProtocolRequest) -> PresentedCredentials:
    """Reads the client's credentials from header or body.

    Raises:
        InvalidRequest: when two methods are presented, or two client ids.
        InvalidClient: when nothing usable is presented.
    """
    authorization = request.headers.get("Authorization")
    client_id, secret = request.parameters.get("client_id"), request.parameters.get("client_secret")
    assertion = request.parameters.get("client_assertion")
    if assertion is not None:
        if authorization is not None or secret is not None:
            raise InvalidRequest("The client used more than one authentication method.")
        return _parse_assertion(assertion, request.parameters.get("client_assertion_type"), client_id)
    if authorization is not None:
        basic = _parse_basic(authorization, realm=request.work.settings.issuer)
        if secret is not None:
            raise InvalidRequest("The client used more than one authentication method.")
        _check_same(client_id, basic.client_id)
        return basic
    if client_id is None:
        raise InvalidClient(detail="no client authentication")
    if secret is not None:
        return PresentedCredentials("client_secret_post", client_id, secret)
    return PresentedCredentials("none", client_id)


def is_client_presented(request: ProtocolRequest) -> bool:
    """Whether the request names or proves a client at all, for grants where it need not (RFC 7521 §4.1, RFC 8693 §2.1).

    What is presented has to hold: nothing wrong is passed over in silence.
    """
    names = ("client_id", "client_secret", "client_assertion", "client_assertion_type")
    return "Authorization" in request.headers or any(request.parameters.get(name) is not None for name in names)


def _check_same(client_id: str | None, authenticated: str) -> None:
    if client_id is not None and client_id != authenticated:
        raise InvalidRequest("The client_id differs from the authenticated client.")


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


def _parse_assertion(assertion: str, assertion_type: str | None, client_id: str | None) -> PresentedCredentials:
    """Whom an assertion names, and by which method; neither is proven yet (RFC 7521 §4.2)."""
    if assertion_type != ASSERTION_TYPE:
        raise InvalidClient(detail="client_assertion_type is missing or unknown")
    try:
        algorithm, subject = jose.peek_header(assertion).get("alg"), jose.peek_claims(assertion).get("sub")
    except jose.InvalidToken as error:
        raise InvalidClient(detail="the client assertion is not a signed token") from error
    if not isinstance(subject, str) or not subject or not subject.isprintable():
        raise InvalidClient(detail="the client assertion names no client")
    _check_same(client_id, subject)
    is_hmac = isinstance(algorithm, str) and algorithm.startswith("HS")
    return PresentedCredentials("client_secret_jwt" if is_hmac else "private_key_jwt", subject, assertion=assertion)
