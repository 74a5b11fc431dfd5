"""What a response type gives, and where its answer stands (RFC 6749 §3.1.1, OAuth 2.0 Multiple Response Types)."""

from __future__ import annotations

from typing import Final

from server.domain.policy.client_metadata import RESPONSE_TYPES

_CANONICAL: Final = {frozenset(known.split(" ")): known for known in RESPONSE_TYPES}
_CODE, _ID_TOKEN, _TOKEN = "code", "id_token", "token"


def find_response_type(presented: str) -> str | None:
    """The known response type that these words name in any order, or None."""
    words = presented.split(" ")
    # A word twice is not the same as once.
    return _CANONICAL.get(frozenset(words)) if len(words) == len(frozenset(words)) else None


def gives_code(response_type: str) -> bool:
    """Whether a code is issued, which is redeemed at the token endpoint."""
    return _CODE in response_type.split(" ")


def gives_id_token(response_type: str) -> bool:
    """Whether an ID token stands in the authorization response itself."""
    return _ID_TOKEN in response_type.split(" ")


def gives_access_token(response_type: str) -> bool:
    """Whether an access token stands in the authorization response itself."""
    return _TOKEN in response_type.split(" ")


def grant_types_of(response_type: str) -> frozenset[str]:
    """The grant types a client has to be registered for (RFC 7591 §2.1)."""
    needed = {"authorization_code"} if gives_code(response_type) else set()
    if gives_id_token(response_type) or gives_access_token(response_type):
        needed.add("implicit")
    return frozenset(needed)


def default_mode(response_type: str | None) -> str:
    """Where the answer stands unless the request says otherwise (OAuth 2.0 Multiple Response Types §2.1, §5)."""
    known = find_response_type(response_type or "") or ""
    return "fragment" if gives_id_token(known) or gives_access_token(known) else "query"
