"""Guesses at client secrets: failures are counted by client and network, and success costs no statement.

A secret has 256 random bits, so nobody guesses one; but whoever tries shall not fill the audit log either. What a
worker has seen used up it refuses by itself until the window is over; the others learn it from the next failure they
count. Nobody is refused for what happens in another network.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Final

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import TooMany
from server.domain.login_attempts import count_attempt
from server.domain.policy.lockout import Budget, client_budgets_for
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets

#: More networks than this are not remembered as refused; their failures are counted all the same.
MAXIMUM_REFUSED: Final = 10_000


def check_may_authenticate(work: UnitOfWork, client_id: str) -> None:
    """Refuses a client whose failures from this network, or a network whose failures over all clients, are too many.

    Raises:
        TooMany: with the seconds until it may try again.
    """
    refused_until = work.runtime.limits.refused_until
    if not refused_until:
        return
    moments = [refused_until.get(budget.bucket, work.now) for budget in _budgets(work, client_id)]
    wait = math.ceil((max(moments) - work.now).total_seconds())
    if wait > 0:
        raise TooMany("Too many failed attempts.", retry_after=wait)


def count_failure(work: UnitOfWork, client_id: str) -> None:
    """Counts one failed authentication; the caller commits it with the audit row that it leaves.

    Args:
        work: whose actor has the caller's address.
        client_id: as it was presented, whether or not there is such a client.
    """
    for budget in _budgets(work, client_id):
        store = work.runtime.limits.store
        wait = store.spend([budget], work.now) if store is not None else count_attempt(work, (budget,))
        if wait > 0:
            _refuse(work.runtime.limits.refused_until, budget, work.now, wait)
            audit_log.record(
                work, AuditEvent.CLIENT_AUTHENTICATION_FAILED, reason="too many failures", refused_seconds=wait
            )


def _budgets(work: UnitOfWork, client_id: str) -> tuple[Budget, Budget]:
    return client_budgets_for(secrets.digest(client_id), work.actor.ip)


def _refuse(refused_until: dict[str, datetime], budget: Budget, now: datetime, seconds: int) -> None:
    if len(refused_until) >= MAXIMUM_REFUSED:
        for bucket in [bucket for bucket, moment in refused_until.items() if moment <= now]:
            del refused_until[bucket]
    if len(refused_until) < MAXIMUM_REFUSED:
        refused_until[budget.bucket] = now + timedelta(seconds=seconds)
