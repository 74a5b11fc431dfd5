"""A token that somebody asks about or ends, of whatever type, whatever the hint says (RFC 7009 §2.1, RFC 7662 §2.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeAlias

from server.domain.api_key_verification import KeyRefused, VerifiedApiKey, looks_like_api_key, verify_api_key
from server.domain.clients import Client, registered_client
from server.domain.grants import Grant
from server.domain.policy.lifetimes import is_expired
from server.domain.refresh_tokens import RefreshToken, find_refresh_token
from server.domain.subjects import subject_of
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.users import User
from server.infra.jose import InvalidToken
from server.protocol.client_token import ClientToken, ClientTokenRefused, verify_client_token
from server.protocol.tokens.access_token import VerifiedAccessToken, check_access_token, decode_access_token
from server.protocol.tokens.key_token import KEY_CLAIM, VerifiedKeyToken, check_key_token


@dataclass(frozen=True)
class PresentedRefreshToken:
    """A refresh token of ours, whatever its state."""

    row: RefreshToken
    grant: Grant
    user: User
    client: Client
    #: What the client knows the person by.
    subject: str


@dataclass(frozen=True)
class SignedAccessToken:
    """An access token of ours that has not expired, whether or not anybody may use it now."""

    client_id: str
    jti: str
    expires_at: datetime


#: A token of a client, or of a person through one.
OfClient: TypeAlias = VerifiedAccessToken | PresentedRefreshToken | ClientToken
#: An API key, or what it was exchanged for.
OfKey: TypeAlias = VerifiedApiKey | VerifiedKeyToken
LiveToken: TypeAlias = OfClient | OfKey


def find_live_token(work: UnitOfWork, token: str, presented_from: str | None = None) -> LiveToken | None:
    """The token, if it would be accepted now. Its type is told from the token itself: a wrong hint hides nothing.

    Args:
        work: the work of whoever asks. Nothing may be written before, as for `verify_client_token`.
        token: as it was presented to them.
        presented_from: the address of whoever presented it, where that is known; keys may be bound to some.
    """
    if looks_like_api_key(work.settings, token):
        try:
            return verify_api_key(_presented(work, presented_from), token)
        except KeyRefused:
            return None
    known = _find_refresh_token(work, token)
    if known is not None:
        return known if _is_live(work, known) else None
    try:
        claims = decode_access_token(work, token)
    except InvalidToken:
        return _find_client_token(_presented(work, presented_from), token)
    try:
        if KEY_CLAIM in claims:
            return check_key_token(_presented(work, presented_from), claims)
        return check_access_token(work, claims)
    except InvalidToken:
        return None


def _presented(work: UnitOfWork, presented_from: str | None) -> UnitOfWork:
    """The same work, as of whoever presented the token: where whoever asks is says nothing about that."""
    return replace(work, actor=work.actor._replace(ip=presented_from, user_agent=None))


def find_token_of(work: UnitOfWork, client: Client, token: str) -> SignedAccessToken | PresentedRefreshToken | None:
    """The client's own token in any state, for ending it: what is refused only for now shall not come back later.

    A spent refresh token still names its family; another client's token is the same as none.
    """
    known = _find_refresh_token(work, token)
    if known is not None:
        return known if known.client.id == client.id else None
    try:
        claims = decode_access_token(work, token)
    except InvalidToken:
        return None
    if claims["client_id"] != client.id:
        return None
    return SignedAccessToken(client.id, claims["jti"], datetime.fromtimestamp(claims["exp"], UTC))


def _find_client_token(work: UnitOfWork, token: str) -> ClientToken | None:
    """A client's own token, not used up yet; who asks about a wrong one has not tried it."""
    try:
        return verify_client_token(work, token)
    except ClientTokenRefused as error:
        if error.client is not None:
            work.runtime.usage.note_failure("client", error.client.id, str(error), work.actor)
        return None


def _find_refresh_token(work: UnitOfWork, token: str) -> PresentedRefreshToken | None:
    known = find_refresh_token(work, token)
    client = registered_client(work, known.row.client_id) if known is not None else None
    if known is None or client is None:
        return None
    subject = subject_of(work, client, known.user.id)
    return PresentedRefreshToken(known.row, known.grant, known.user, client, subject)


def _is_live(work: UnitOfWork, token: PresentedRefreshToken) -> bool:
    if token.row.consumed_at is not None or is_expired(work.now, token.row.expires_at):
        return False
    return is_usable(work.now, token.grant, token.client, token.user)
