"""Refresh rotation: each refresh token is used once and replaced; a second use ends the family (RFC 9700 §4.14.2).

A client whose answer was lost may retry. For a short window the immediate predecessor, from the same client and for
the same scope, is answered with the very same response as long as the successor was not used. That response is kept
sealed under a key derived from the presented token, so that the database alone cannot reveal it.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import update

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.grants import find_grant, revoke_grant
from server.domain.refresh_tokens import RefreshToken, find_refresh_token
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import commit_before_raising, count_changed
from server.infra.keyring import open_with_secret, seal_with_secret

_CONTEXT: Final = "gatepost refresh replay"


def consume_refresh_token(work: UnitOfWork, row: RefreshToken) -> bool:
    """Spends the token, in the transaction that issues its successor. False when it was spent before.

    Using a token also ends the replay window of its predecessor.
    """
    statement = (
        update(RefreshToken)
        .where(RefreshToken.id == row.id, RefreshToken.consumed_at.is_(None))
        .values(consumed_at=work.now, last_used_at=work.now)
    )
    if count_changed(work.db, statement) != 1:
        return False
    if row.predecessor_id is not None:
        work.db.execute(
            update(RefreshToken)
            .where(RefreshToken.id == row.predecessor_id)
            .values(replay=None, replay_scope=None)
            .execution_options(synchronize_session=False)
        )
    return True


def keep_replay(work: UnitOfWork, row: RefreshToken, presented: str, scope: str, response: dict[str, Any]) -> None:
    """Keeps the response that spent `presented`, for a retry within the window."""
    if work.settings.refresh_replay_window == 0:
        return
    sealed = seal_with_secret(presented, json.dumps(response).encode(), _CONTEXT)
    work.db.execute(
        update(RefreshToken)
        .where(RefreshToken.id == row.id)
        .values(replay=sealed, replay_scope=scope)
        .execution_options(synchronize_session=False)
    )


def find_replay(work: UnitOfWork, presented: str, client_id: str, scope: str) -> dict[str, Any] | None:
    """The response that a retry of a spent token may have again, or None."""
    row = find_refresh_token(work, presented)
    if row is None or row.consumed_at is None or row.replay is None:
        return None
    age = (work.now - row.consumed_at).total_seconds()
    if age > work.settings.refresh_replay_window or row.client_id != client_id or row.replay_scope != scope:
        return None
    response: dict[str, Any] = json.loads(open_with_secret(presented, row.replay, _CONTEXT))
    return response


def revoke_for_reuse(work: UnitOfWork, row: RefreshToken, presented_by: str) -> None:
    """A spent token came back: either copy may be a thief's, so the whole family ends, and that stays."""
    grant = find_grant(work, row.grant_id)
    if grant is not None and grant.revoked_at is None:
        audit_log.record(
            work,
            AuditEvent.REFRESH_TOKEN_REUSED,
            user_id=grant.user_id,
            client_id=grant.client_id,
            presented_by=presented_by,
        )
        revoke_grant(work, grant, "refresh_token_reused")
    commit_before_raising(work.db)
