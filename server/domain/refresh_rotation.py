"""Refresh rotation: each refresh token is used once and replaced; a second use ends the family (RFC 9700 §4.14.2).

A client whose answer was lost may retry. For a short window the immediate predecessor, from the same client and for
the same scope, is answered with the very same response as long as the successor was not used. Nothing of that response
is kept: the successor and the tokens' ids are derived from the presented token under the deployment's keyring, so that
whoever presents it again leads to them again, and nobody can who has the database alone (docs/adr/0009).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Select, bindparam, select, update

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.clients import Client
from server.domain.consumption import Consumption, Spent, audit_insert, audit_parameters
from server.domain.grants import Grant, revoke_grant
from server.domain.refresh_tokens import (
    PREFIX,
    TOKENS,
    KnownRefreshToken,
    find_refresh_token,
    idle_end,
    refresh_token_insert,
    refresh_token_parameters,
)
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import usable_grants
from server.domain.users import User
from server.infra import secrets
from server.infra.database import columns_of, commit_before_raising, detached_each
from server.infra.keyring import Keyring

_CONTEXT: Final = "gatepost refresh rotation"


@dataclass(frozen=True)
class Refreshed:
    """A refresh token that was accepted: for whom tokens are issued, when, and under which id."""

    grant: Grant
    user: User
    #: The token to use next; None when the presented one stays.
    successor: str | None
    at: datetime
    jti: str | None


def _accepted() -> Any:
    """Everything that must hold for a refresh token to be accepted, decided by the database in the one statement."""
    return (
        (TOKENS.c.token_digest == bindparam("digest"))
        & (TOKENS.c.client_id == bindparam("presented_by"))
        & TOKENS.c.consumed_at.is_(None)
        & (TOKENS.c.expires_at > bindparam("now", type_=TOKENS.c.expires_at.type))
        & usable_grants("now").where(Grant.id == TOKENS.c.grant_id).exists()
    )


def _grant_and_user(spent: Spent) -> Select[Any]:
    joined = select(*columns_of(Grant, User)).select_from(spent).join(Grant, Grant.id == spent.c.grant_id)
    return joined.join(User, User.id == Grant.user_id)


_NOW: Final = bindparam("now", type_=TOKENS.c.last_used_at.type)
_ROTATION: Final = Consumption(
    spend=update(TOKENS)
    .where(_accepted())
    .values(
        consumed_at=_NOW, last_used_at=_NOW, replay_scope=bindparam("asked_scope", type_=TOKENS.c.replay_scope.type)
    )
    .returning(TOKENS.c.id, TOKENS.c.grant_id),
    inserts=(lambda spent: refresh_token_insert(spent, spent.c.id), audit_insert),
    answer=_grant_and_user,
)
_USE: Final = Consumption(
    spend=update(TOKENS)
    .where(_accepted())
    .values(last_used_at=_NOW, expires_at=select(idle_end()).where(Grant.id == TOKENS.c.grant_id).scalar_subquery())
    .returning(TOKENS.c.id, TOKENS.c.grant_id),
    inserts=(audit_insert,),
    answer=_grant_and_user,
)


def refresh(work: UnitOfWork, client: Client, token: str, asked: str | None) -> Refreshed | None:
    """Spends the token and stores its successor, or notes the use of one that does not rotate; None when refused.

    Args:
        work: the unit of work.
        client: whose request it is.
        token: the presented refresh token.
        asked: the scope that was asked for, None for all that was granted.
    """
    now = work.now
    rotates = client.rotate_refresh_tokens
    successor, jti = _derive(work.runtime.keyring, work.runtime.keyring.active, token)
    event = AuditEvent.REFRESH_TOKEN_ROTATED if rotates else AuditEvent.TOKEN_ISSUED
    parameters = {
        "digest": secrets.digest(token),
        "presented_by": client.id,
        "asked_scope": asked,
        **refresh_token_parameters(work, now, successor),
        **audit_parameters(work, event, client.id, "refresh_token"),
    }
    row = (_ROTATION if rotates else _USE).run(work, parameters)
    if row is None:
        return None
    work.runtime.metrics.tell(event)
    grant, user = detached_each((Grant, User), row)
    return Refreshed(grant, user, successor, now, jti) if rotates else Refreshed(grant, user, None, now, None)


def _derive(keyring: Keyring, key_name: str, token: str) -> tuple[str, str]:
    """The successor of `token`, and the `jti` of the access token issued with it."""
    key = _rotation_key(keyring, key_name)
    successor = secrets.derived_secret(key, f"successor {token}", PREFIX)
    return successor, secrets.derived_id(key, f"jti {token}")


@lru_cache(maxsize=16)
def _rotation_key(keyring: Keyring, name: str) -> bytes:
    return keyring.derive_key(_CONTEXT, name)


def find_retry(
    work: UnitOfWork, client: Client, token: str, spent: KnownRefreshToken, asked: str | None
) -> Refreshed | None:
    """What a retry of a spent token may have again, or None: too late, another client or scope, the successor used."""
    row = spent.row
    if row.consumed_at is None or row.client_id != client.id or row.replay_scope != asked:
        return None
    window = work.settings.refresh_replay_window
    if window == 0 or (work.now - row.consumed_at).total_seconds() > window:
        return None
    # The keyring may have got another active key since.
    for name in work.runtime.keyring.names:
        successor, jti = _derive(work.runtime.keyring, name, token)
        known = find_refresh_token(work, successor)
        if known is not None and known.row.consumed_at is None:
            return Refreshed(spent.grant, spent.user, successor, known.row.created_at, jti)
    return None


def revoke_for_reuse(work: UnitOfWork, spent: KnownRefreshToken, presented_by: str) -> None:
    """A spent token came back: either copy may be a thief's, so the whole family ends, and that stays."""
    if revoke_grant(work, spent.grant, "refresh_token_reused"):
        audit_log.record(
            work,
            AuditEvent.REFRESH_TOKEN_REUSED,
            user_id=spent.grant.user_id,
            client_id=spent.grant.client_id,
            presented_by=presented_by,
        )
    commit_before_raising(work.db)
