"""The endpoints beside `/v1`, as the OpenAPI document tells them: what each is for, and by which specification.

A row is found by its endpoint in the URL map; a path that is mapped and not described here fails a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class OtherEndpoint:
    """What stands at one endpoint of the URL map."""

    summary: str
    tag: str
    media_type: str = "application/json"
    #: Members of the form that is posted, those first that must be there.
    form: tuple[str, ...] = ()
    required: int = 0
    statuses: tuple[int, ...] = (200, 400)
    #: Whether JSON is posted instead.
    takes_json: bool = False

    @property
    def is_posted_to(self) -> bool:
        """Whether what is posted has a body."""
        return self.takes_json or bool(self.form) or self.media_type == "text/html"


_OAUTH: Final = "OAuth 2.0"
_DISCOVERY: Final = "Discovery"
_REGISTRATION: Final = "Client registration"
_PAGES: Final = "Pages"
_HEALTH: Final = "Health"


def _verification(summary: str) -> OtherEndpoint:
    return OtherEndpoint(summary, "Verification", statuses=(200, 400, 401, 403, 429))


MACHINE_ENDPOINTS: Final[dict[str, OtherEndpoint]] = {
    "oauth.token": OtherEndpoint(
        "Get tokens (RFC 6749 §3.2)", _OAUTH, statuses=(200, 400, 401), required=1,
        form=("grant_type", "code", "redirect_uri", "code_verifier", "client_id", "client_secret", "refresh_token",
              "scope", "client_assertion", "client_assertion_type", "subject_token", "subject_token_type", "assertion"),
    ),
    "oauth.introspect": OtherEndpoint(
        "Ask about a token or an API key (RFC 7662)", _OAUTH, statuses=(200, 400, 401), required=1,
        form=("token", "token_type_hint", "client_id", "client_secret", "client_assertion", "client_assertion_type"),
    ),
    "oauth.revoke": OtherEndpoint(
        "End a token (RFC 7009)", _OAUTH, statuses=(200, 400, 401), required=1,
        form=("token", "token_type_hint", "client_id", "client_secret", "client_assertion", "client_assertion_type"),
    ),
    "oauth.userinfo": OtherEndpoint(
        "Claims about the person of an access token (OpenID Connect Core §5.3)", _OAUTH, statuses=(200, 400, 401, 403),
        form=("access_token",),
    ),
    "oauth.session_alias": OtherEndpoint(
        "Refresh the deployment's own session", _OAUTH, statuses=(200, 400, 401), required=1, form=("refresh_token",),
    ),
    "oauth.authorize": OtherEndpoint(
        "Begin signing a person in (RFC 6749 §3.1)", _OAUTH, "text/html", statuses=(200, 303, 400), required=1,
        form=("client_id", "response_type", "redirect_uri", "scope", "state", "nonce", "code_challenge",
              "code_challenge_method", "prompt", "max_age", "login_hint", "request", "request_uri"),
    ),
    "oauth.authorize_resume": OtherEndpoint(
        "Go on signing a person in", _OAUTH, "text/html", statuses=(200, 303, 400, 403, 404, 410)
    ),
    "oauth.check_session": OtherEndpoint(
        "The frame that asks about the session (Session Management 1.0 §3.2)", _OAUTH, "text/html", statuses=(200,)
    ),
    "oauth.register": OtherEndpoint(
        "Register a client (RFC 7591)", _REGISTRATION, statuses=(201, 400, 401, 404, 429), takes_json=True
    ),
    "oauth.read_registration": OtherEndpoint(
        "Read a registration (RFC 7592 §2.1)", _REGISTRATION, statuses=(200, 400, 401, 404)
    ),
    "oauth.replace_registration": OtherEndpoint(
        "Replace a registration (RFC 7592 §2.2)", _REGISTRATION, statuses=(200, 400, 401, 404), takes_json=True
    ),
    "oauth.delete_registration": OtherEndpoint(
        "Delete a registration (RFC 7592 §2.3)", _REGISTRATION, statuses=(204, 400, 401, 404)
    ),
    "oauth.openid_configuration": OtherEndpoint("OpenID Connect discovery", _DISCOVERY, statuses=(200,)),
    "oauth.openid_configuration_inserted": OtherEndpoint("The same (RFC 8414 §3.1)", _DISCOVERY, statuses=(200,)),
    "oauth.authorization_server": OtherEndpoint("OAuth metadata (RFC 8414)", _DISCOVERY, statuses=(200,)),
    "oauth.authorization_server_inserted": OtherEndpoint("The same (RFC 8414 §3.1)", _DISCOVERY, statuses=(200,)),
    "oauth.jwks": OtherEndpoint("Public keys (RFC 7517 §5)", _DISCOVERY, statuses=(200,)),
    "oauth.healthz": OtherEndpoint("Whether the process lives", _HEALTH, statuses=(200,)),
    "oauth.readyz": OtherEndpoint("Whether it can serve", _HEALTH, statuses=(200, 503)),
    "oauth.healthz_at_root": OtherEndpoint("Whether the process lives", _HEALTH, statuses=(200,)),
    "oauth.readyz_at_root": OtherEndpoint("Whether it can serve", _HEALTH, statuses=(200, 503)),
    "api.openapi_document": OtherEndpoint("This document", _DISCOVERY, statuses=(200,)),
    "api.reference": OtherEndpoint("This document for people", _DISCOVERY, "text/html", statuses=(200,)),
    "api.verify_below": _verification("Verify a credential for a gateway that appends the path"),
    "api.verify_test": _verification("The same, for test credentials alone"),
    "api.verify_test_below": _verification("The same, for test credentials and a gateway that appends the path"),
    "api.verify_any": _verification("The same, for credentials of both environments"),
    "api.verify_any_below": _verification("The same, for both environments and a gateway that appends the path"),
    "static_file": OtherEndpoint("Styles, scripts and pictures of the pages", _PAGES, "*/*", statuses=(200, 404)),
}  # fmt: skip


def page_endpoint(endpoint: str) -> OtherEndpoint:
    """What a page for people is told to be: its name in words."""
    face, _, name = endpoint.partition(".")
    words = name.replace("_", " ").capitalize()
    return OtherEndpoint(words or face.capitalize(), _PAGES, "text/html", statuses=(200, 303, 400, 403, 404))
