"""Login attempts: counted before the password is looked at, exactly, over all workers and restarts.

The database counts unless the deployment names another store (`infra/rate_limiter.py`).
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import Integer, String, TextClause, bindparam, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.selectable import TextualSelect

from server.domain.errors import TooMany
from server.domain.policy.lockout import Budget
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import Base, commit_attempt
from server.infra.prepared import Rows
from server.infra.turns import stepping_aside
from server.infra.utc_datetime import UtcDateTime

_SENTENCE: Final = "Too many attempts to sign in."


class LoginAttempts(Base):
    """How much of one budget has been spent in its present window."""

    __tablename__ = "login_attempts"

    bucket: Mapped[str] = mapped_column(primary_key=True)
    attempts: Mapped[int]
    window_ends_at: Mapped[datetime] = mapped_column(index=True)


def spend_attempt(work: UnitOfWork, budgets: tuple[Budget, ...]) -> None:
    """Takes one attempt from each budget, and keeps that: simultaneous guesses all count.

    The transaction under way, if any, is committed; none is open afterwards.

    Raises:
        TooMany: when one of them is used up, with the seconds until the last of those is not.
    """
    store = work.runtime.limits.store
    if store is None and not work.is_in_transaction:
        wait = _count_at_once(work, budgets)
    elif store is None:
        wait = count_attempt(work, budgets)
        commit_attempt(work.db)
    else:
        commit_attempt(work.db)
        with stepping_aside():
            wait = store.spend(in_order(budgets), work.now)
    if wait > 0:
        raise TooMany(_SENTENCE, retry_after=wait)


def give_back(work: UnitOfWork, budgets: tuple[Budget, ...]) -> None:
    """After a success: account and device forgive all that came before, the others this one attempt alone."""
    store = work.runtime.limits.store
    if store is not None:
        store.give_back(in_order(budgets), work.now)
    else:
        parameters = give_back_parameters(budgets, work.now)
        work.db.connection().execute(give_back_statement(len(budgets)), parameters)


def give_back_parameters(budgets: tuple[Budget, ...], now: datetime) -> dict[str, Any]:
    """The parameters of `give_back_statement`."""
    parameters: dict[str, Any] = {"now": now}
    for number, budget in enumerate(in_order(budgets)):
        parameters[f"bucket{number}"] = budget.bucket
        parameters[f"forgives{number}"] = int(budget.is_forgiving)
    return parameters


def count_attempt(work: UnitOfWork, budgets: tuple[Budget, ...]) -> int:
    """Counts one attempt in the database, in one statement; the seconds to wait, 0 when all had one left."""
    now, ordered = work.now, in_order(budgets)
    return _wait(work.db.connection().execute(_spend_of(ordered), _spending(ordered, now)).all(), ordered, now)


def _count_at_once(work: UnitOfWork, budgets: tuple[Budget, ...]) -> int:
    """As `count_attempt`, committed: the statement is a transaction of its own."""
    now, ordered = work.now, in_order(budgets)
    rows = work.runtime.autocommit.together(lambda change: change(_spend_of(ordered), _spending(ordered, now)))
    return _wait(rows, ordered, now)


def _spend_of(ordered: list[Budget]) -> TextualSelect:
    return _spend(tuple(budget.tier for budget in ordered))


def _spending(ordered: list[Budget], now: datetime) -> dict[str, Any]:
    parameters: dict[str, Any] = {"now": now}
    for number, budget in enumerate(ordered):
        parameters[f"bucket{number}"] = budget.bucket
        parameters[f"ends{number}"] = now + timedelta(seconds=budget.seconds)
        parameters[f"limit{number}"] = budget.attempts
    return parameters


def _wait(counted: Rows, ordered: list[Budget], now: datetime) -> int:
    limits = {budget.bucket: budget.attempts for budget in ordered}
    ends = [ends_at for bucket, attempts, ends_at in counted if attempts > limits[bucket]]
    return max((max(1, math.ceil((end - now).total_seconds())) for end in ends), default=0)


def in_order(budgets: tuple[Budget, ...]) -> list[Budget]:
    """By tier and always the same, so that simultaneous sign-ins wait for each other and never deadlock."""
    return sorted(budgets, key=lambda budget: (budget.tier, budget.bucket))


@cache
def _spend(tiers: tuple[int, ...]) -> TextualSelect:
    """Counts budgets of these tiers, each while those of lower tiers have something left.

    Whoever invents addresses shall not fill the table with them, nor use up with one network what all have together.
    """
    given = " UNION ALL ".join(
        f"SELECT :bucket{number} AS bucket, :ends{number} AS ends_at, {tier} AS tier"
        for number, tier in enumerate(tiers)
    )
    used_up = " OR ".join(
        f"({tier} < given.tier AND used.bucket = :bucket{number} AND used.attempts >= :limit{number})"
        for number, tier in enumerate(tiers)
    )
    statement = f"""
        INSERT INTO login_attempts (bucket, attempts, window_ends_at)
        SELECT given.bucket, 1, given.ends_at FROM ({given}) AS given
        WHERE given.tier = 0
           OR NOT EXISTS (SELECT 1 FROM login_attempts AS used WHERE used.window_ends_at > :now AND ({used_up}))
        ON CONFLICT (bucket) DO UPDATE SET
            attempts = CASE WHEN login_attempts.window_ends_at <= :now THEN 1 ELSE login_attempts.attempts + 1 END,
            window_ends_at = CASE WHEN login_attempts.window_ends_at <= :now
                THEN excluded.window_ends_at ELSE login_attempts.window_ends_at END
        RETURNING bucket, attempts, window_ends_at
    """  # noqa: S608 – numbers and fixed names only
    count = len(tiers)
    limits = [bindparam(f"limit{number}", type_=Integer()) for number in range(count)]
    ends = [bindparam(f"ends{number}", type_=UtcDateTime()) for number in range(count)]
    bound = text(statement).bindparams(*_bound(count), *ends, *limits)
    return bound.columns(bucket=String(), attempts=Integer(), window_ends_at=UtcDateTime())


@cache
def give_back_statement(count: int, after: str | None = None) -> TextClause:
    """Gives an attempt back to so many budgets.

    It is written like the statement above, so that both take the rows' locks in the same order.

    Args:
        count: how many.
        after: for a part of a larger statement of PostgreSQL's, the part without whose one row nothing is given back.
    """
    given = " UNION ALL ".join(
        f"SELECT :bucket{number} AS bucket, :forgives{number} AS forgives" for number in range(count)
    )
    condition, answer = (f" CROSS JOIN {after}", "RETURNING 1 AS done") if after else ("", "")
    statement = f"""
        INSERT INTO login_attempts (bucket, attempts, window_ends_at)
        SELECT given.bucket, given.forgives, :now FROM ({given}) AS given{condition} WHERE true
        ON CONFLICT (bucket) DO UPDATE SET attempts = CASE
            WHEN excluded.attempts = 1 OR login_attempts.attempts < 1 THEN 0 ELSE login_attempts.attempts - 1 END
        {answer}
    """  # noqa: S608 – numbers and fixed names only
    flags = [bindparam(f"forgives{number}", type_=Integer()) for number in range(count)]
    return text(statement).bindparams(*_bound(count), *flags)


def _bound(count: int) -> list[Any]:
    buckets = [bindparam(f"bucket{number}", type_=String()) for number in range(count)]
    return [bindparam("now", type_=UtcDateTime()), *buckets]
