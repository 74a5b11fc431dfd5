"""The one encoder of authorization responses, successes and errors alike.

RFC 6749 §4.1.2, OAuth 2.0 Multiple Response Types, Form Post Response Mode, RFC 9207: `iss` on every response.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from authlib.oauth2 import OAuth2Error

from server.config import Settings

RESPONSE_MODES: Final = ("query", "form_post")
DEFAULT: Final = "query"


@dataclass(frozen=True)
class Redirect:
    """The browser goes to `location` (303)."""

    location: str


@dataclass(frozen=True)
class FormPost:
    """The browser posts `fields` to `target`."""

    target: str
    fields: tuple[tuple[str, str], ...]


AuthorizationResponse = Redirect | FormPost


def encode_response(
    settings: Settings, parameters: Mapping[str, Any], answer: Mapping[str, str]
) -> AuthorizationResponse:
    """Encodes `answer` for the redirect URI and response mode of a checked request.

    Args:
        settings: for `iss`.
        parameters: the request's `redirect_uri`, `response_mode` and `state`.
        answer: `code`, or `error` and `error_description`.
    """
    fields = dict(answer)
    if parameters.get("state") is not None:
        fields["state"] = parameters["state"]
    fields["iss"] = settings.issuer
    redirect_uri = parameters["redirect_uri"]
    if parameters.get("response_mode") == "form_post":
        return FormPost(redirect_uri, tuple(fields.items()))
    # The registered query stays as it was registered, byte by byte (RFC 6749 §3.1.2).
    separator = "&" if "?" in redirect_uri else "?"
    return Redirect(redirect_uri + separator + urlencode(fields))


def encode_error(settings: Settings, parameters: Mapping[str, Any], error: OAuth2Error) -> AuthorizationResponse:
    """Encodes an error for the client (RFC 6749 §4.1.2.1)."""
    answer = {"error": str(error.error)}
    if error.description:
        answer["error_description"] = error.description
    return encode_response(settings, parameters, answer)
