"""ID tokens, and the hints that come back (OpenID Connect Core §2, §3.1.2.1, §3.1.3.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from server.domain import signing_keys
from server.domain.claims import ID_TOKEN_SCOPES, claims_of
from server.domain.clients import Client
from server.domain.grants import Grant
from server.domain.logout import sid_of
from server.domain.subjects import subject_of
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from server.infra import jose, jwe
from server.protocol.tokens.access_token import Issuance
from server.protocol.tokens.signed_response import TYP, sign_response


@dataclass(frozen=True)
class Authorized:
    """Whom the tokens are for: the client, the person, what they allowed it, and how much of that is issued now."""

    client: Client
    user: User
    grant: Grant
    scopes: frozenset[str]
    issuance: Issuance


@dataclass(frozen=True)
class Beside:
    """What an ID token is issued together with."""

    access_token: str | None = None
    code: str | None = None
    #: Of the authorization request. Not in ID tokens of refreshes (OpenID Connect Core §12.2).
    nonce: str | None = None


def issue_id_token(work: UnitOfWork, authorized: Authorized, beside: Beside) -> str:
    """Signs an ID token; protocol claims are written last, so that no claim about a person can replace one.

    Raises:
        InvalidRequest: when it is to be encrypted and the client has no key for that.
    """
    client, user, grant = authorized.client, authorized.user, authorized.grant
    algorithm = client.id_token_signed_response_alg
    issued = int(authorized.issuance.at.timestamp())
    claims = _claims_about(authorized, beside) | {
        "iss": work.settings.issuer,
        "sub": subject_of(work, client, user.id),
        "aud": client.id,
        "iat": issued,
        "exp": issued + work.settings.id_token_lifetime,
        "auth_time": int(grant.auth_time.timestamp()),
        "acr": grant.acr,
        "amr": grant.amr,
        "sid": sid_of(grant.session_id, client.id),
    }
    if beside.access_token is not None:
        claims["at_hash"] = jose.half_hash(beside.access_token, algorithm)
    if beside.code is not None:
        claims["c_hash"] = jose.half_hash(beside.code, algorithm)
    if beside.nonce is not None:
        claims["nonce"] = beside.nonce
    protection = (algorithm, client.id_token_encrypted_response_alg, client.id_token_encrypted_response_enc)
    return sign_response(work, client, claims, protection, authorized.issuance.at)


def _claims_about(authorized: Authorized, beside: Beside) -> dict[str, Any]:
    """What the ID token says about the person. All that was granted if no access token is ever issued (§5.4)."""
    if beside.access_token is None and beside.code is None:
        scopes = authorized.scopes
    else:
        scopes = authorized.scopes & ID_TOKEN_SCOPES if authorized.client.id_token_claims == "full" else frozenset()
    single = (authorized.grant.requested_claims or {}).get("id_token", ())
    return claims_of(authorized.user, scopes, single)


def verify_id_token_hint(work: UnitOfWork, token: str) -> dict[str, Any]:
    """The claims of an ID token of ours that came back as a hint (§3.1.2.1).

    It may have expired, and a client that got it encrypted may have encrypted it to us.

    Raises:
        InvalidToken: when it is no ID token of this issuer; an access token is none.
    """
    is_encrypted = token.count(".") == 4
    signed = jwe.decrypt(token, signing_keys.decryption_keys(work)) if is_encrypted else token
    decoded = jose.verify(signed, signing_keys.hint_keys(work))
    is_ours = decoded.header.get("typ") == TYP and decoded.claims.get("iss") == work.settings.issuer
    # A signed userinfo or authorization response is a JWT of ours too.
    if not is_ours or not {"sub", "aud", "iat", "exp"} <= decoded.claims.keys():
        raise jose.InvalidToken("The hint is not an ID token of this issuer.")
    return decoded.claims
