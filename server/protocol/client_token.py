"""Tokens that clients make themselves, as bearer tokens for APIs and as grants of their own (RFC 7523 §2.1 and §3).

A client with `jwt_authentication` signs with what it proves itself by: HS256 with its secret, or its own key where it
registered private_key_jwt. No other kind of token passes for one, and none of these for another kind (RFC 8725 §3.12).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from server.domain import scopes
from server.domain.audit_events import AuditEvent
from server.domain.client_attempts import check_may_authenticate, count_failure
from server.domain.client_keys import KeysUnavailable
from server.domain.clients import Client, is_like_client_id, record_of_client, registered_client
from server.domain.policy.client_metadata import RESERVED_ID_PREFIXES
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import why_unusable
from server.domain.used_assertions import use_assertion
from server.infra import jose
from server.infra.database import commit_before_raising
from server.infra.jose import InvalidToken
from server.protocol.client_authentication.client_assertion import (
    KEYS_UNAVAILABLE,
    is_for_client_authentication,
    verify_client_signature,
)
from server.protocol.client_authentication.token_times import LEEWAY_SECONDS, why_untimely
from server.protocol.tokens.access_token import audience_in

#: From `iat` to `exp`.
MAXIMUM_LIFETIME: Final = 3600
#: As a bearer token it is a plain JWT.
BEARER_TYPES: Final = frozenset({"jwt"})
#: As a grant it may also say that it is one (draft-ietf-oauth-rfc7523bis §4).
GRANT_TYPES: Final = BEARER_TYPES | {"authorization-grant+jwt"}
#: What only other tokens that a client signs have: request objects, logout tokens.
_OF_OTHER_TOKENS: Final = frozenset({"response_type", "redirect_uri", "code_challenge", "events"})
#: ASCII (OpenID Connect Core §2), and nothing at the ends that a header would lose on its way to an API.
_SUBJECT: Final = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")
_MAXIMUM_JTI: Final = 255


class ClientTokenRefused(InvalidToken):
    """Not to be accepted, for a reason in fixed words for the log."""

    def __init__(self, reason: str, client: Client | None = None) -> None:
        super().__init__(reason)
        #: Whom the token names, proven or not.
        self.client = client


@dataclass(frozen=True)
class ClientToken:
    """A token that a client made, proven but not used up."""

    client: Client
    claims: Mapping[str, Any]
    #: Within the client's own.
    scope_set: frozenset[str]

    @property
    def subject(self) -> str:
        """Whom the token is about, by the client's own word; never a name that we give to anybody."""
        return str(self.claims["sub"])

    @property
    def expires_at(self) -> datetime:
        """When it ends."""
        return datetime.fromtimestamp(self.claims["exp"], UTC)


def verify_client_token(work: UnitOfWork, token: str, types: Collection[str] = BEARER_TYPES) -> ClientToken:
    """Proves that a client made the token, for us, for now, and within its own scopes. It is not used up by that.

    Nothing may be written before: where the client's keys have to be fetched, a transaction that has begun is
    committed.

    Raises:
        ClientTokenRefused: when it is anything else.
    """
    client = _issuer_of(work, token)
    try:
        decoded = verify_client_signature(work, client, token)
        fault = (
            why_unusable(work.now, client)
            or _why_kind_refused(work, client, decoded, types)
            or _why_claims_refused(work, client, decoded.claims)
            or _why_untimely(decoded.claims, work.now.timestamp())
        )
    except KeysUnavailable as error:
        raise ClientTokenRefused(KEYS_UNAVAILABLE, client) from error
    except InvalidToken as error:
        raise ClientTokenRefused(str(error), client) from error
    if fault is not None:
        raise ClientTokenRefused(fault, client)
    return ClientToken(client, decoded.claims, _scope_of(work, client, decoded.claims))


def use_client_token(work: UnitOfWork, token: ClientToken) -> None:
    """Uses the token up if it has a `jti`.

    Raises:
        ClientTokenRefused: when it was used before, on whichever replica.
    """
    jti = token.claims.get("jti")
    if jti is None:
        return
    until = datetime.fromtimestamp(int(token.claims["exp"]) + LEEWAY_SECONDS + 1, UTC)
    if not use_assertion(work, token.client.id, jti, until):
        raise ClientTokenRefused("used before", token.client)


def check_may_present(work: UnitOfWork, token: str) -> None:
    """Refuses to look at tokens in a client's name where too many were wrong; without a statement.

    Raises:
        TooMany: with the seconds until the next one is looked at.
        ClientTokenRefused: when it names no client that makes tokens.
    """
    check_may_authenticate(work, _issuer_of(work, token).id)


def note_refusal(work: UnitOfWork, refused: ClientTokenRefused) -> None:
    """Leaves the mark of a refused token in a client's name, in a transaction of its own: nothing else was written.

    Whoever asks about somebody else's token leaves it to them: the address that is counted is the actor's.
    """
    client = refused.client
    if client is None:
        return
    work.db.rollback()
    work.runtime.usage.note_failure("client", client.id, str(refused), work.actor)
    if str(refused) != KEYS_UNAVAILABLE:
        count_failure(work, client.id)
    record_of_client(work, AuditEvent.CLIENT_TOKEN_REFUSED, client, reason=str(refused))
    commit_before_raising(work.db)


def _issuer_of(work: UnitOfWork, token: str) -> Client:
    """The client that the token names, which proves nothing."""
    try:
        issuer = jose.peek_claims(token).get("iss")
    except InvalidToken as error:
        raise ClientTokenRefused("not a signed token") from error
    client = registered_client(work, issuer) if isinstance(issuer, str) else None
    if client is None or not client.jwt_authentication:
        raise ClientTokenRefused("its issuer is no client that makes tokens")
    return client


def _why_kind_refused(
    work: UnitOfWork, client: Client, decoded: jose.DecodedToken, types: Collection[str]
) -> str | None:
    kind = decoded.header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in types:
        return "it is another kind of token"
    if not _OF_OTHER_TOKENS.isdisjoint(decoded.claims):
        return "it is another kind of token"
    # Whoever is shown a bearer token could otherwise be the client here.
    return "it proves the client itself" if is_for_client_authentication(work, client, decoded) else None


def _why_claims_refused(work: UnitOfWork, client: Client, claims: Mapping[str, Any]) -> str | None:
    if claims.get("iss") != client.id:
        return "it is of another issuer"
    if not _is_for_us(work, client, claims.get("aud")):
        return "it is for another audience"
    jti = claims.get("jti", "-")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAXIMUM_JTI:
        return "jti is not a text of 1 to 255 characters"
    return _why_subject_refused(work, client, claims.get("sub"))


def _why_subject_refused(work: UnitOfWork, client: Client, subject: object) -> str | None:
    """A client speaks of itself, or of whomever it knows by a name that nobody has here (RFC 9700 §4.15)."""
    if subject == client.id:
        return None
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        return "sub is not a text of 1 to 255 printable characters"
    if subject.casefold().startswith(RESERVED_ID_PREFIXES) or is_like_client_id(work, subject):
        return "sub is somebody of ours"
    return None


def _is_for_us(work: UnitOfWork, client: Client, audience: object) -> bool:
    """All of the audience is this deployment: whoever else may read the token could use it here."""
    settings = work.settings
    ours = (settings.issuer, settings.url("/oauth/token"), audience_in(client.environment, settings.audience))
    audiences = audience if isinstance(audience, list) else [audience]
    return bool(audiences) and all(each in ours for each in audiences)


def _why_untimely(claims: Mapping[str, Any], now: float) -> str | None:
    if "exp" not in claims or "iat" not in claims:
        return "exp or iat is missing"
    untimely = why_untimely(claims, now)
    if untimely is not None:
        return untimely
    return None if claims["exp"] - claims["iat"] <= MAXIMUM_LIFETIME else "it lives longer than an hour"


def _scope_of(work: UnitOfWork, client: Client, claims: Mapping[str, Any]) -> frozenset[str]:
    """What the token may do: what it says, or all that its client may do for itself.

    Raises:
        ClientTokenRefused: when it says more than that.
    """
    allowed = client.allowed_scopes - scopes.PERSONAL
    said = claims.get("scope")
    if said is None:
        return allowed
    if not isinstance(said, str) or not scopes.is_well_formed(said):
        raise ClientTokenRefused("scope is malformed", client)
    asked = scopes.parse(said)
    if scopes.covered(work.settings, asked, allowed) != asked:
        raise ClientTokenRefused("scope is more than the client has", client)
    return asked
