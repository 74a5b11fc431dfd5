"""The UserInfo response (OpenID Connect Core §5.3)."""

from __future__ import annotations

from typing import Any

from server.domain.claims import claims_of
from server.protocol.tokens.access_token import VerifiedAccessToken


def userinfo_response(token: VerifiedAccessToken) -> dict[str, Any]:
    """The claims that the token's scopes open, and the `sub` of the ID token, written last."""
    if token.user is None:
        raise ValueError("userinfo is about a person; this token has none")
    return claims_of(token.user, token.scope_set) | {"sub": token.user.id}
