"""Login attempts: counted in the database before the password is looked at, exactly, over all workers and restarts."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import case, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Mapped, mapped_column

from server.domain.errors import TooMany
from server.domain.policy.lockout import FORGIVING, Budget
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import Base


class LoginAttempts(Base):
    """How much of one budget has been spent in its present window."""

    __tablename__ = "login_attempts"

    bucket: Mapped[str] = mapped_column(primary_key=True)
    attempts: Mapped[int]
    window_ends_at: Mapped[datetime] = mapped_column(index=True)


def spend_attempt(work: UnitOfWork, budgets: tuple[Budget, ...]) -> None:
    """Takes one attempt from each budget; the caller commits at once, so that simultaneous guesses all count.

    Raises:
        TooMany: when one of them is used up, with the seconds until the last of those is not.
    """
    ordered = _in_order(budgets)
    by_network = [budget for budget in ordered if not budget.bucket.startswith(FORGIVING)]
    by_account = [budget for budget in ordered if budget.bucket.startswith(FORGIVING)]
    # The network first, and alone when it is used up: whoever invents addresses shall not fill the table with them.
    for group in (by_network, by_account):
        longest = max((_spend(work, budget) for budget in group), default=0)
        if longest > 0:
            raise TooMany("Too many attempts to sign in.", retry_after=longest)


def _spend(work: UnitOfWork, budget: Budget) -> int:
    """Counts one attempt in one statement; returns the seconds to wait, 0 when within the budget."""
    insert = postgresql_insert if work.db.get_bind().dialect.name == "postgresql" else sqlite_insert
    window_end = work.now + timedelta(seconds=budget.seconds)
    is_over = LoginAttempts.window_ends_at <= work.now
    statement = (
        insert(LoginAttempts)
        .values(bucket=budget.bucket, attempts=1, window_ends_at=window_end)
        .on_conflict_do_update(
            index_elements=[LoginAttempts.bucket],
            set_={
                "attempts": case((is_over, 1), else_=LoginAttempts.attempts + 1),
                "window_ends_at": case((is_over, window_end), else_=LoginAttempts.window_ends_at),
            },
        )
        .returning(LoginAttempts.attempts, LoginAttempts.window_ends_at)
    )
    attempts, ends_at = work.db.execute(statement).one()
    return max(1, round((ends_at - work.now).total_seconds())) if attempts > budget.attempts else 0


def give_back(work: UnitOfWork, budgets: tuple[Budget, ...]) -> None:
    """After a success: account and device forgive all that came before, the network this one attempt alone."""
    for budget in _in_order(budgets):
        left = 0 if budget.bucket.startswith(FORGIVING) else LoginAttempts.attempts - 1
        work.db.execute(
            update(LoginAttempts)
            .where(LoginAttempts.bucket == budget.bucket)
            .values(attempts=left)
            .execution_options(synchronize_session=False)
        )


def _in_order(budgets: tuple[Budget, ...]) -> list[Budget]:
    """Always the same order, so that simultaneous sign-ins wait for each other and never deadlock."""
    return sorted(budgets, key=lambda budget: (budget.bucket.startswith(FORGIVING), budget.bucket))
