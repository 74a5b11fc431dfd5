"""A token that somebody asks about or ends: access token or refresh token, whatever the hint says (RFC 7009 §2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from server.domain.clients import Client, registered_client
from server.domain.grants import Grant
from server.domain.policy.lifetimes import is_expired
from server.domain.refresh_tokens import RefreshToken, find_refresh_token
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.users import User
from server.infra.jose import InvalidToken
from server.protocol.tokens.access_token import VerifiedAccessToken, verify_access_token


@dataclass(frozen=True)
class PresentedRefreshToken:
    """A refresh token of ours, whatever its state."""

    row: RefreshToken
    grant: Grant
    user: User
    client: Client


PresentedToken = VerifiedAccessToken | PresentedRefreshToken


def find_token(work: UnitOfWork, token: str) -> PresentedToken | None:
    """A usable access token, or a refresh token in any state: a spent one still names its family.

    The type is told from the token itself, so that a wrong hint cannot hide it.
    """
    known = find_refresh_token(work, token)
    if known is not None:
        client = registered_client(work, known.row.client_id)
        return PresentedRefreshToken(known.row, known.grant, known.user, client) if client else None
    try:
        return verify_access_token(work, token)
    except InvalidToken:
        return None


def find_live_token(work: UnitOfWork, token: str) -> PresentedToken | None:
    """The token, if it would be accepted now."""
    found = find_token(work, token)
    if isinstance(found, PresentedRefreshToken) and not _is_live(work, found):
        return None
    return found


def _is_live(work: UnitOfWork, token: PresentedRefreshToken) -> bool:
    if token.row.consumed_at is not None or is_expired(work.now, token.row.expires_at):
        return False
    return is_usable(work.now, token.grant, token.client, token.user)
