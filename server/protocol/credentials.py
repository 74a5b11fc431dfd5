"""One way to verify whatever a request to an API carries: an API key, an access token, or a JWT that a client made.

What it is shows in its shape: keys by their prefix, the others by who signed them (RFC 8725 §3.11, §3.12).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from server.domain import scopes
from server.domain.api_key_verification import KeyRefused, VerifiedApiKey, looks_like_api_key, verify_api_key
from server.domain.clients import Client
from server.domain.scopes import Rights
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from server.infra.jose import InvalidToken
from server.protocol.client_token import (
    ClientTokenRefused,
    check_may_present,
    note_refusal,
    use_client_token,
    verify_client_token,
)
from server.protocol.tokens.access_token import VerifiedAccessToken, check_access_token, decode_access_token
from server.protocol.tokens.key_token import KEY_CLAIM, VerifiedKeyToken, check_key_token


class CredentialRefused(Exception):
    """Not to be accepted; the reason is for the log, and every one is the same to the outside."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class VerifiedCredential:
    """Who asks, and what they may do."""

    kind: Literal["api_key", "access_token", "client_token"]
    #: The key's id, the `sub` of the token.
    subject: str
    rights: Rights
    organization_id: str | None
    environment: str
    expires_at: datetime | None
    #: None for keys, and for the tokens that they are exchanged for.
    client: Client | None = None
    #: Only where a person allowed a client to act for them.
    user: User | None = None
    #: Also behind an access token that the key was exchanged for.
    key: VerifiedApiKey | None = None
    #: Of the token; a key has none.
    claims: Mapping[str, Any] | None = None

    @property
    def scope_set(self) -> frozenset[str]:
        """What was granted, patterns as they were granted."""
        return self.rights.granted


def verify_credential(work: UnitOfWork, presented: str, *, for_scim: bool = False) -> VerifiedCredential:
    """Decides whether the credential may be used now. A client's own token with a `jti` is used up by that.

    Nothing may be written before: where a client's keys are fetched, a transaction that has begun is committed.

    Args:
        work: the work, whose actor has the address that the credential comes from.
        presented: what stood behind `Bearer`.
        for_scim: whether people are provisioned here: of all keys those of the kind `scim` are for that, and only that.

    Raises:
        CredentialRefused: when it may not.
        TooMany: when too many tokens in the client's name were wrong.
    """
    if looks_like_api_key(work.settings, presented):
        return _verify_key(work, presented, for_scim)
    try:
        claims = decode_access_token(work, presented)
    except InvalidToken:
        return _verify_client_token(work, presented)
    try:
        if KEY_CLAIM in claims:
            return _of_key_token(work, check_key_token(work, claims))
        return _of_access_token(work, check_access_token(work, claims))
    except InvalidToken as error:
        raise CredentialRefused(str(error)) from error


def _verify_key(work: UnitOfWork, presented: str, for_scim: bool) -> VerifiedCredential:
    try:
        verified = verify_api_key(work, presented, for_scim=for_scim)
    except KeyRefused as error:
        raise CredentialRefused(error.reason) from error
    key = verified.key
    return VerifiedCredential(
        "api_key",
        key.id,
        verified.rights,
        key.organization_id,
        key.environment,
        key.expires_at,
        key=verified,
    )


def _verify_client_token(work: UnitOfWork, presented: str) -> VerifiedCredential:
    try:
        check_may_present(work, presented)
        token = verify_client_token(work, presented)
        use_client_token(work, token)
    except ClientTokenRefused as error:
        note_refusal(work, error)
        raise CredentialRefused(str(error)) from error
    client = token.client
    work.runtime.usage.note_use("client", client.id, work.actor)
    return VerifiedCredential(
        "client_token",
        token.subject,
        scopes.rights(work.settings, token.scope_set),
        client.organization_id,
        client.environment,
        token.expires_at,
        client=client,
        claims=token.claims,
    )


def _of_access_token(work: UnitOfWork, token: VerifiedAccessToken) -> VerifiedCredential:
    client, claims = token.client, token.claims
    return VerifiedCredential(
        "access_token",
        claims["sub"],
        scopes.rights(work.settings, token.scope_set),
        client.organization_id,
        client.environment,
        datetime.fromtimestamp(claims["exp"], UTC),
        client=client,
        user=token.user,
        claims=claims,
    )


def _of_key_token(work: UnitOfWork, token: VerifiedKeyToken) -> VerifiedCredential:
    key, claims = token.key.key, token.claims
    return VerifiedCredential(
        "access_token",
        key.id,
        token.rights(work),
        key.organization_id,
        key.environment,
        datetime.fromtimestamp(claims["exp"], UTC),
        key=token.key,
        claims=claims,
    )
