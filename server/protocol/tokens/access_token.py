"""Access tokens: JWTs per RFC 9068, not stored, ended by `jti` or by grant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from server.domain import scopes, signing_keys
from server.domain.access_tokens import standing_of
from server.domain.clients import Client, registered_client
from server.domain.grants import Grant
from server.domain.subjects import subject_of
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import why_unusable
from server.domain.users import User
from server.infra import jose
from server.protocol.tokens.person_claims import claims_about_person

TYP: Final = "at+jwt"
#: Of a client whose access tokens tell who the person is.
RICH: Final = "rich"


class VerifiedAccessToken(NamedTuple):
    """An access token that may be used now, with everything it stands for."""

    claims: Mapping[str, Any]
    client: Client
    #: None for client_credentials, where nobody but the client acts.
    grant: Grant | None
    user: User | None

    @property
    def scope_set(self) -> frozenset[str]:
        """The token's scopes."""
        return scopes.parse(self.claims.get("scope"))


class IssuedAccessToken(NamedTuple):
    """A fresh access token."""

    token: str
    #: Seconds.
    expires_in: int


class Issuance(NamedTuple):
    """When and under which id tokens are issued: a retried refresh repeats both."""

    at: datetime
    jti: str


def audience_in(environment: str, audience: str) -> str:
    """Whom tokens of this environment are for: the APIs of one world never take those of the other."""
    return audience if environment == "live" else f"{audience}/{environment}"


def issue_access_token(
    work: UnitOfWork,
    client: Client,
    granted: frozenset[str],
    grant: Grant | None,
    issuance: Issuance,
    subject: str | None = None,
) -> IssuedAccessToken:
    """Signs an access token for `grant`, or for the client itself when there is none (RFC 9068 §2.2).

    It never outlives its grant.

    The `sub` of a client's own token is its `client_id`, which no user's id can be (RFC 9068 §5, RFC 9700 §4.15), or
    the `subject` that a token of the client's names, which nobody's id can be either.
    """
    issued = int(issuance.at.timestamp())
    expires = issued + work.settings.access_token_lifetime
    if grant is not None:
        expires = min(expires, int(grant.expires_at.timestamp()))
    claims: dict[str, Any] = {
        "iss": work.settings.issuer,
        "sub": subject_of(work, client, grant.user_id) if grant else subject or client.id,
        "aud": audience_in(client.environment, grant.audience if grant else work.settings.audience),
        "client_id": client.id,
        "iat": issued,
        "exp": expires,
        "jti": issuance.jti,
    }
    if granted:
        claims["scope"] = scopes.format_scopes(granted)
    if grant is None and client.organization_id is not None:
        claims |= {"organization_id": client.organization_id, "environment": client.environment}
    if grant is not None:
        claims |= {"grant_id": grant.id, "auth_time": int(grant.auth_time.timestamp())}
        claims |= {"acr": grant.acr, "amr": grant.amr}
        if client.access_token_claims == RICH:
            # What the token is for is never what a person's claims say.
            claims = claims_about_person(work, client, grant.user_id, granted) | claims
    algorithm = client.access_token_signed_response_alg
    token = jose.sign(claims, signing_keys.signing_key(work, algorithm, issuance.at), algorithm, TYP)
    return IssuedAccessToken(token, expires - issued)


def decode_access_token(work: UnitOfWork, token: str) -> Mapping[str, Any]:
    """The claims of an access token of this issuer that has not expired, whoever may use it.

    Raises:
        InvalidToken: when it is none.
    """
    decoded = jose.verify(token, signing_keys.published_keys(work))
    # RFC 9068 §4: without this an ID token would pass.
    if decoded.header.get("typ") != TYP or decoded.claims.get("iss") != work.settings.issuer:
        raise jose.InvalidToken("The token is not an access token of this issuer.")
    if decoded.claims["exp"] <= work.now.timestamp():
        raise jose.InvalidToken("The access token has expired or was revoked.")
    return decoded.claims


def verify_access_token(work: UnitOfWork, token: str) -> VerifiedAccessToken:
    """Decides whether an access token may be used now; one that an API key was exchanged for is none of a client.

    Raises:
        InvalidToken: when it is none of ours, has expired, was revoked, or somebody behind it may no longer act.
    """
    return check_access_token(work, decode_access_token(work, token))


def check_access_token(work: UnitOfWork, claims: Mapping[str, Any]) -> VerifiedAccessToken:
    """Decides about a token that `decode_access_token` took for ours.

    Raises:
        InvalidToken: as `verify_access_token`.
    """
    client = registered_client(work, claims["client_id"])
    standing = standing_of(work, claims["jti"], claims.get("grant_id"))
    behind = (standing.grant, standing.user) if "grant_id" in claims else ()
    is_over = standing.is_revoked or why_unusable(work.now, client, *behind) is not None
    # A token that is older than its client was an earlier client's of the same id.
    if is_over or client is None or claims["iat"] < int(client.created_at.timestamp()):
        raise jose.InvalidToken("The access token has expired or was revoked.")
    return VerifiedAccessToken(claims, client, standing.grant, standing.user)
