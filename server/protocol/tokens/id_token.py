"""ID tokens, and the hints that come back (OpenID Connect Core §2, §3.1.2.1, §3.1.3.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from server.domain import signing_keys
from server.domain.claims import ID_TOKEN_SCOPES, claims_of
from server.domain.clients import Client
from server.domain.grants import Grant
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from server.infra import jose
from server.protocol.tokens.access_token import Issuance

TYP: Final = "JWT"


@dataclass(frozen=True)
class Authorized:
    """Whom the tokens are for: the client, the person, what they allowed it, and how much of that is issued now."""

    client: Client
    user: User
    grant: Grant
    scopes: frozenset[str]
    issuance: Issuance


def issue_id_token(work: UnitOfWork, authorized: Authorized, access_token: str, nonce: str | None) -> str:
    """Signs an ID token; protocol claims are written last, so that no claim about a person can replace one.

    The nonce stands in the ID token of the code's redemption, not in those of refreshes (OpenID Connect Core §12.2).
    """
    client, user, grant = authorized.client, authorized.user, authorized.grant
    algorithm = client.id_token_signed_response_alg
    issued = int(authorized.issuance.at.timestamp())
    claims: dict[str, Any] = (
        claims_of(user, authorized.scopes & ID_TOKEN_SCOPES) if client.id_token_claims == "full" else {}
    )
    claims |= {
        "iss": work.settings.issuer,
        "sub": user.id,
        "aud": client.id,
        "iat": issued,
        "exp": issued + work.settings.id_token_lifetime,
        "auth_time": int(grant.auth_time.timestamp()),
        "acr": grant.acr,
        "amr": grant.amr,
        "sid": grant.session_id,
        "at_hash": jose.half_hash(access_token, algorithm),
    }
    if nonce is not None:
        claims["nonce"] = nonce
    return jose.sign(claims, signing_keys.signing_key(work, algorithm, authorized.issuance.at), algorithm, TYP)


def verify_id_token_hint(work: UnitOfWork, token: str) -> dict[str, Any]:
    """The claims of an ID token of ours that came back as a hint; it may have expired (§3.1.2.1).

    Raises:
        InvalidToken: when it is no ID token of this issuer; an access token is none.
    """
    decoded = jose.verify(token, signing_keys.published_keys(work))
    if decoded.header.get("typ") != TYP or decoded.claims.get("iss") != work.settings.issuer:
        raise jose.InvalidToken("The hint is not an ID token of this issuer.")
    return decoded.claims
