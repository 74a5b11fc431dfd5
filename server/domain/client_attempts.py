"""Guesses at client secrets: failures are counted by client and network, and success costs no statement.

A secret has 256 random bits, so nobody guesses one; but whoever tries shall not fill the audit log either. What a
worker has seen used up it refuses by itself until the window is over; the others learn it from the next failure they
count. Nobody is refused for what happens in another network.
"""

from __future__ import annotations

from datetime import timedelta

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import TooMany
from server.domain.login_attempts import count_attempt
from server.domain.policy.lockout import Budget, client_budgets_for
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets


def check_may_authenticate(work: UnitOfWork, client_id: str) -> None:
    """Refuses a client whose failures from this network, or a network whose failures over all clients, are too many.

    Raises:
        TooMany: with the seconds until it may try again.
    """
    limits = work.runtime.limits
    if not limits.refused_until:
        return
    wait = max(limits.wait_for(budget.bucket, work.now) for budget in _budgets(work, client_id))
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
            work.runtime.limits.refuse(budget.bucket, work.now + timedelta(seconds=wait), work.now)
            audit_log.record(
                work, AuditEvent.CLIENT_AUTHENTICATION_FAILED, reason="too many failures", refused_seconds=wait
            )


def _budgets(work: UnitOfWork, client_id: str) -> tuple[Budget, Budget]:
    return client_budgets_for(secrets.digest(client_id), work.actor.ip)
