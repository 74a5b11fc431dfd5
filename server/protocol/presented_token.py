"""A token that somebody asks about or ends: access token or refresh token, whatever the hint says (RFC 7009 §2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from server.domain.clients import Client, find_client
from server.domain.grants import Grant, find_grant
from server.domain.policy.lifetimes import is_expired
from server.domain.refresh_tokens import RefreshToken, find_refresh_token
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.users import find_user
from server.infra.jose import InvalidToken
from server.protocol.tokens.access_token import VerifiedAccessToken, verify_access_token


@dataclass(frozen=True)
class KnownRefreshToken:
    """A refresh token of ours, whatever its state."""

    row: RefreshToken
    grant: Grant
    client: Client


PresentedToken = VerifiedAccessToken | KnownRefreshToken


def find_token(work: UnitOfWork, token: str) -> PresentedToken | None:
    """A usable access token, or a refresh token in any state: a spent one still names its family.

    The type is told from the token itself, so that a wrong hint cannot hide it.
    """
    row = find_refresh_token(work, token)
    if row is not None:
        grant, client = find_grant(work, row.grant_id), find_client(work, row.client_id)
        return KnownRefreshToken(row, grant, client) if grant and client else None
    try:
        return verify_access_token(work, token)
    except InvalidToken:
        return None


def find_live_token(work: UnitOfWork, token: str) -> PresentedToken | None:
    """The token, if it would be accepted now."""
    found = find_token(work, token)
    if isinstance(found, KnownRefreshToken) and not _is_live(work, found):
        return None
    return found


def _is_live(work: UnitOfWork, token: KnownRefreshToken) -> bool:
    if token.row.consumed_at is not None or is_expired(work.now, token.row.expires_at):
        return False
    return is_usable(work.now, token.grant, token.client, find_user(work, token.grant.user_id))
