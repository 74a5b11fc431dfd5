"""OAuth errors: Authlib's class with the codes it lacks and two texts kept apart.

`description` is sent: fixed ASCII without quotes, never built from input (RFC 6749 §5.2 and Appendix A.8).
`detail` is logged and audited. `parameter` names the parameter at fault on error pages.
"""

from __future__ import annotations

from typing import Literal

from authlib.oauth2 import OAuth2Error as OAuth2Error

from server.domain.clients import Client


class ProtocolError(OAuth2Error):
    """The root of the errors that Gatepost itself raises."""

    status_code = 400

    def __init__(self, description: str, *, detail: str = "", parameter: str | None = None) -> None:
        super().__init__(description)
        self.detail = detail
        self.parameter = parameter
        #: The client of the request, where it is proven, for the page that shows the error.
        self.client: Client | None = None


class InvalidRequest(ProtocolError):
    """RFC 6749 §4.1.2.1, §5.2."""

    error = "invalid_request"


class InvalidClient(ProtocolError):
    """RFC 6749 §5.2. One text for every reason; the challenge only for those who sent an Authorization header."""

    error = "invalid_client"
    status_code = 401

    def __init__(self, *, detail: str, realm: str | None = None) -> None:
        super().__init__("Client authentication failed.", detail=detail)
        self.realm = realm

    def get_headers(self) -> list[tuple[str, str]]:
        """`WWW-Authenticate` with a realm (RFC 7617 §2); without one a browser would ask the person."""
        headers: list[tuple[str, str]] = super().get_headers()
        if self.realm is not None:
            headers.append(("WWW-Authenticate", f'Basic realm="{self.realm}", charset="UTF-8"'))
        return headers


class InvalidGrant(ProtocolError):
    """RFC 6749 §5.2."""

    error = "invalid_grant"


class InvalidScope(ProtocolError):
    """RFC 6749 §4.1.2.1, §5.2."""

    error = "invalid_scope"


class UnauthorizedClient(ProtocolError):
    """RFC 6749 §4.1.2.1, §5.2."""

    error = "unauthorized_client"


class UnsupportedGrantType(ProtocolError):
    """RFC 6749 §5.2."""

    error = "unsupported_grant_type"


class UnsupportedResponseType(ProtocolError):
    """RFC 6749 §4.1.2.1."""

    error = "unsupported_response_type"


class AccessDenied(ProtocolError):
    """RFC 6749 §4.1.2.1."""

    error = "access_denied"


class LoginRequired(ProtocolError):
    """OpenID Connect Core §3.1.2.6."""

    error = "login_required"


class ConsentRequired(ProtocolError):
    """OpenID Connect Core §3.1.2.6."""

    error = "consent_required"


class AccountSelectionRequired(ProtocolError):
    """OpenID Connect Core §3.1.2.6."""

    error = "account_selection_required"


class RequestNotSupported(ProtocolError):
    """OpenID Connect Core §3.1.2.6."""

    error = "request_not_supported"


class RequestUriNotSupported(ProtocolError):
    """OpenID Connect Core §3.1.2.6."""

    error = "request_uri_not_supported"


class RegistrationNotSupported(ProtocolError):
    """OpenID Connect Core §3.1.2.6."""

    error = "registration_not_supported"


class InvalidRequestObject(ProtocolError):
    """OpenID Connect Core §3.1.2.6, RFC 9101 §6."""

    error = "invalid_request_object"


class InvalidRequestUri(ProtocolError):
    """OpenID Connect Core §3.1.2.6: what the URI leads to cannot be had, or is no request object."""

    error = "invalid_request_uri"


class UnmetAuthenticationRequirements(ProtocolError):
    """OpenID Connect Core Error Code unmet_authentication_requirements §2."""

    error = "unmet_authentication_requirements"


class InvalidRedirectUri(ProtocolError):
    """RFC 7591 §3.2.2."""

    error = "invalid_redirect_uri"


class InvalidClientMetadata(ProtocolError):
    """RFC 7591 §3.2.2."""

    error = "invalid_client_metadata"


class InvalidSoftwareStatement(ProtocolError):
    """RFC 7591 §3.2.2."""

    error = "invalid_software_statement"


class UnapprovedSoftwareStatement(ProtocolError):
    """RFC 7591 §3.2.2."""

    error = "unapproved_software_statement"


class InvalidTarget(ProtocolError):
    """RFC 8693 §2.2.2, RFC 8707 §2."""

    error = "invalid_target"


class BearerError(ProtocolError):
    """RFC 6750 §3: the challenge carries the code; a request without any token gets no code."""

    error = "invalid_token"
    status_code = 401

    def __init__(self, description: str, *, realm: str, detail: str = "") -> None:
        super().__init__(description, detail=detail)
        self.realm = realm

    def get_headers(self) -> list[tuple[str, str]]:
        """The `WWW-Authenticate: Bearer` challenge."""
        challenge = f'Bearer realm="{self.realm}", error="{self.error}", error_description="{self.description}"'
        return [*super().get_headers(), ("WWW-Authenticate", challenge)]


class MissingToken(BearerError):
    """No token at all: RFC 6750 §3.1 forbids an error code."""

    def get_headers(self) -> list[tuple[str, str]]:
        """The bare challenge."""
        return [*OAuth2Error.get_headers(self), ("WWW-Authenticate", f'Bearer realm="{self.realm}"')]

    def get_body(self) -> list[tuple[Literal["error", "error_description", "error_uri"], str | None]]:
        """A sentence for people; no code."""
        return [("error_description", self.description)]


class MalformedBearerRequest(BearerError):
    """RFC 6750 §3.1 `invalid_request`: two tokens, or one in a place where none may be."""

    error = "invalid_request"
    status_code = 400


class InsufficientScope(BearerError):
    """RFC 6750 §3.1."""

    error = "insufficient_scope"
    status_code = 403
