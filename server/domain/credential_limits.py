"""Requests of a credential in a minute: counted exactly, over all workers and replicas.

Only a credential that has a limit is counted, by one statement of its own; the others cost none. The database counts
unless the deployment names another store (`infra/rate_limiter.py`). A worker that has seen a limit used up refuses by
itself until the minute is over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Integer, String, bindparam, text
from sqlalchemy.orm import Mapped, mapped_column

from server.domain.errors import TooMany
from server.domain.policy.lockout import Budget
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import Base, commit_attempt
from server.infra.prepared import Rows
from server.infra.turns import stepping_aside
from server.infra.utc_datetime import UtcDateTime

WINDOW_SECONDS: Final = 60
_SENTENCE: Final = "This key has been used as often as it may be in a minute. Try again when Retry-After is over."


class CredentialLimit(Base):
    """How many requests one credential has made in its present window."""

    __tablename__ = "credential_limits"

    bucket: Mapped[str] = mapped_column(primary_key=True)
    requests: Mapped[int]
    window_ends_at: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True)
class Allowance:
    """What is left of a credential's limit."""

    limit: int
    #: None where the store that counts does not tell.
    remaining: int | None
    #: Seconds until the window is over.
    resets_in: int


_COUNT: Final = (
    text(
        """
        INSERT INTO credential_limits (bucket, requests, window_ends_at) VALUES (:bucket, 1, :ends)
        ON CONFLICT (bucket) DO UPDATE SET
            requests = CASE WHEN credential_limits.window_ends_at <= :now
                THEN 1 ELSE credential_limits.requests + 1 END,
            window_ends_at = CASE WHEN credential_limits.window_ends_at <= :now
                THEN excluded.window_ends_at ELSE credential_limits.window_ends_at END
        RETURNING requests, window_ends_at
        """
    )
    .bindparams(
        bindparam("bucket", type_=String()),
        bindparam("now", type_=UtcDateTime()),
        bindparam("ends", type_=UtcDateTime()),
    )
    .columns(requests=Integer(), window_ends_at=UtcDateTime())
)


def spend_request(work: UnitOfWork, credential_id: str, limit: int | None) -> Allowance | None:
    """Takes one request from what the credential may do in a minute; None when it has no limit.

    The count stands whatever becomes of the request: it is written beside the work's transaction, which is committed
    first if it has begun. Whoever proves who they are has written nothing yet.

    Raises:
        TooMany: when nothing is left, with the seconds until there is.
    """
    if limit is None:
        return None
    # With the limit in its name, so that a raised one counts at once.
    bucket = f"credential:{credential_id}:{limit}"
    wait = work.runtime.limits.wait_for(bucket, work.now)
    if wait > 0:
        raise TooMany(_SENTENCE, retry_after=wait)
    if work.is_in_transaction:
        commit_attempt(work.db)
    spent, ends_at = _count(work, bucket, limit)
    resets_in = max(1, math.ceil((ends_at - work.now).total_seconds()))
    if spent is not None and spent > limit:
        work.runtime.limits.refuse(bucket, ends_at, work.now)
        raise TooMany(_SENTENCE, retry_after=resets_in)
    return Allowance(limit, None if spent is None else limit - spent, resets_in)


def _count(work: UnitOfWork, bucket: str, limit: int) -> tuple[int | None, datetime]:
    """How many requests the window has with this one, if that is known, and when it ends."""
    store, now = work.runtime.limits.store, work.now
    ends_at = now + timedelta(seconds=WINDOW_SECONDS)
    if store is None:
        ((spent, ends_at),) = _count_in_database(work, {"bucket": bucket, "now": now, "ends": ends_at})
        return spent, ends_at
    with stepping_aside():
        wait = store.spend([Budget(bucket, limit, WINDOW_SECONDS)], now)
    return (limit + 1, now + timedelta(seconds=wait)) if wait > 0 else (None, ends_at)


def _count_in_database(work: UnitOfWork, parameters: dict[str, Any]) -> Rows:
    return work.runtime.autocommit.together(lambda change: change(_COUNT, parameters), parameters["bucket"])
