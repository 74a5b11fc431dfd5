"""The one encoder of authorization responses, successes and errors alike.

RFC 6749 §4.1.2, OAuth 2.0 Multiple Response Types, Form Post Response Mode, RFC 9207 (`iss` on every response), JWT
Secured Authorization Response Mode (JARM).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from authlib.oauth2 import OAuth2Error

from server.domain.clients import Client
from server.domain.unit_of_work import UnitOfWork
from server.protocol.authorization.response_types import default_mode
from server.protocol.tokens.signed_response import sign_response

JWT_MODES: Final = ("jwt", "query.jwt", "fragment.jwt", "form_post.jwt")
RESPONSE_MODES: Final = ("query", "fragment", "form_post", *JWT_MODES)
#: JARM §2.1: short, as the client reads it at once.
_JWT_SECONDS: Final = 600


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
    work: UnitOfWork, client: Client, parameters: Mapping[str, Any], answer: Mapping[str, str]
) -> AuthorizationResponse:
    """Encodes `answer` for the redirect URI and response mode of a checked request.

    Args:
        work: for `iss`, and for the key of a signed answer.
        client: whom the answer is for.
        parameters: the request's `redirect_uri`, `response_mode`, `response_type` and `state`.
        answer: what the response type gives, or `error` and `error_description`.
    """
    fields = dict(answer)
    if parameters.get("state") is not None:
        fields["state"] = parameters["state"]
    fields["iss"] = work.settings.issuer
    mode = parameters.get("response_mode") or default_mode(parameters.get("response_type"))
    if mode in JWT_MODES:
        fields = {"response": _signed(work, client, fields)}
        mode = mode.removesuffix(".jwt") if mode != "jwt" else default_mode(parameters.get("response_type"))
    redirect_uri = parameters["redirect_uri"]
    if mode == "form_post":
        return FormPost(redirect_uri, tuple(fields.items()))
    if mode == "fragment":
        # A redirect URI has no fragment of its own (RFC 6749 §3.1.2).
        return Redirect(f"{redirect_uri}#{urlencode(fields)}")
    # The registered query stays as it was registered, byte by byte (RFC 6749 §3.1.2).
    separator = "&" if "?" in redirect_uri else "?"
    return Redirect(redirect_uri + separator + urlencode(fields))


def encode_error(
    work: UnitOfWork, client: Client, parameters: Mapping[str, Any], error: OAuth2Error
) -> AuthorizationResponse:
    """Encodes an error for the client (RFC 6749 §4.1.2.1)."""
    answer = {"error": str(error.error)}
    if error.description:
        answer["error_description"] = error.description
    return encode_response(work, client, parameters, answer)


def _signed(work: UnitOfWork, client: Client, fields: Mapping[str, str]) -> str:
    """JARM §2.1, §2.2."""
    claims = {**fields, "aud": client.id, "exp": int(work.now.timestamp()) + _JWT_SECONDS}
    protection = (
        client.authorization_signed_response_alg,
        client.authorization_encrypted_response_alg,
        client.authorization_encrypted_response_enc,
    )
    return sign_response(work, client, claims, protection)
