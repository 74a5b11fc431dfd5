"""Tokens that API keys are exchanged for (RFC 8693): verified offline if an API likes, and alive while their key is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.domain import scopes, signing_keys
from server.domain.api_key_verification import KeyRefused, VerifiedApiKey, verify_api_key_by_id
from server.domain.scopes import Rights
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose, secrets
from server.protocol.tokens.access_token import TYP, IssuedAccessToken, audience_in

#: Names the key. No token of a client has it.
KEY_CLAIM: Final = "api_key"
#: What every verifier knows (RFC 9068 §2.1).
_ALGORITHM: Final = "RS256"


@dataclass(frozen=True)
class VerifiedKeyToken:
    """Such a token, with the key behind it as it is now."""

    claims: Mapping[str, Any]
    key: VerifiedApiKey

    def rights(self, work: UnitOfWork) -> Rights:
        """What the token says, within what the key may do by now."""
        return scopes.rights(work.settings, scopes.parse(self.claims.get("scope"))).within(self.key.rights)


def issue_key_token(work: UnitOfWork, verified: VerifiedApiKey, granted: frozenset[str]) -> IssuedAccessToken | None:
    """Signs a token for the key; None when the key ends before the token could begin. It never outlives its key."""
    key, issued = verified.key, int(work.now.timestamp())
    expires = issued + work.settings.api_key_token_lifetime
    if key.expires_at is not None:
        expires = min(expires, int(key.expires_at.timestamp()))
    if expires <= issued:
        return None
    claims: dict[str, Any] = {
        "iss": work.settings.issuer,
        "sub": key.id,
        "aud": audience_in(key.environment, work.settings.audience),
        "client_id": key.id,
        "iat": issued,
        "exp": expires,
        "jti": secrets.new_id(),
        "organization_id": key.organization_id,
        "environment": key.environment,
        KEY_CLAIM: key.id,
    }
    if granted:
        claims["scope"] = scopes.format_scopes(granted)
    token = jose.sign(claims, signing_keys.signing_key(work, _ALGORITHM), _ALGORITHM, TYP)
    return IssuedAccessToken(token, expires - issued)


def check_key_token(work: UnitOfWork, claims: Mapping[str, Any]) -> VerifiedKeyToken:
    """Decides whether such a token, which `decode_access_token` took for ours, may be used now.

    Raises:
        InvalidToken: when its key may not be used any more.
    """
    try:
        return VerifiedKeyToken(claims, verify_api_key_by_id(work, str(claims[KEY_CLAIM])))
    except KeyRefused as error:
        raise jose.InvalidToken("The API key behind the token may not be used.") from error
