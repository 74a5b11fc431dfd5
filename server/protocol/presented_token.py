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
class LiveRefreshToken:
    """A refresh token that would still be accepted."""

    row: RefreshToken
    grant: Grant
    client: Client


LiveToken = VerifiedAccessToken | LiveRefreshToken


def find_live_token(work: UnitOfWork, token: str) -> LiveToken | None:
    """The token, if it may be used now; the type is told from the token itself, so that a wrong hint cannot hide it."""
    row = find_refresh_token(work, token)
    if row is not None:
        return _live_refresh_token(work, row)
    try:
        return verify_access_token(work, token)
    except InvalidToken:
        return None


def _live_refresh_token(work: UnitOfWork, row: RefreshToken) -> LiveRefreshToken | None:
    grant, client = find_grant(work, row.grant_id), find_client(work, row.client_id)
    user = find_user(work, grant.user_id) if grant else None
    if grant is None or client is None or not is_usable(work.now, grant, client, user):
        return None
    if row.consumed_at is not None or is_expired(work.now, row.expires_at):
        return None
    return LiveRefreshToken(row, grant, client)
