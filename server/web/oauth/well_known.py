"""`/.well-known/…`: discovery and the JWKS (RFC 8414, OpenID Connect Discovery, RFC 7517)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask.wrappers import Response

from server.config import Settings
from server.protocol import metadata
from server.web.context import current_gatepost, current_work

#: Short enough that an emergency rotation is seen soon, long enough that verifiers rest.
JWKS_MAX_AGE: Final = 900
METADATA_MAX_AGE: Final = 3600


def openid_configuration() -> Response:
    """OpenID Connect Discovery §4."""
    return _cacheable(_document(metadata.openid_provider_metadata), METADATA_MAX_AGE)


def authorization_server() -> Response:
    """RFC 8414 §3."""
    return _cacheable(_document(metadata.authorization_server_metadata), METADATA_MAX_AGE)


def jwks() -> Response:
    """The public keys that tokens verify with (RFC 7517 §5)."""
    return _cacheable(metadata.jwks_document(current_work()), JWKS_MAX_AGE)


def _document(describe: Callable[[Settings], dict[str, Any]]) -> bytes:
    return metadata.encode_document(describe(current_gatepost().runtime.settings))


def cached_for(seconds: int) -> list[tuple[str, str]]:
    """The header by which anybody may keep an answer for so long."""
    return [("Cache-Control", f"public, max-age={seconds}")]


def _cacheable(document: bytes, max_age: int) -> Response:
    response = Response(document, mimetype="application/json")
    response.headers.extend(cached_for(max_age))
    return response
