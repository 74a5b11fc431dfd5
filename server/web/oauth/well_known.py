"""`/.well-known/…`: discovery and the JWKS (RFC 8414, OpenID Connect Discovery, RFC 7517)."""

from __future__ import annotations

from typing import Any, Final

from flask import jsonify
from flask.wrappers import Response

from server.domain import signing_keys
from server.protocol import metadata
from server.web.context import current_gatepost, current_work
from server.web.transaction import reading

#: Short enough that an emergency rotation is seen soon, long enough that verifiers rest.
_JWKS_MAX_AGE: Final = 900
_METADATA_MAX_AGE: Final = 3600


def openid_configuration() -> Response:
    """OpenID Connect Discovery §4."""
    return _cacheable(metadata.openid_provider_metadata(current_gatepost().runtime.settings), _METADATA_MAX_AGE)


def authorization_server() -> Response:
    """RFC 8414 §3."""
    return _cacheable(metadata.authorization_server_metadata(current_gatepost().runtime.settings), _METADATA_MAX_AGE)


@reading
def jwks() -> Response:
    """The public keys that tokens verify with (RFC 7517 §5)."""
    return _cacheable({"keys": signing_keys.published_keys(current_work())}, _JWKS_MAX_AGE)


def _cacheable(document: dict[str, Any], max_age: int) -> Response:
    response = jsonify(document)
    response.headers["Cache-Control"] = f"public, max-age={max_age}"
    return response
