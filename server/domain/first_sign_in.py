"""Signing in on a browser that nobody has signed in on before: all that becomes of it, written by one statement.

There is no earlier session to end, so nothing has to be read first: one conditional UPDATE of the browser's row
decides, and what follows from it is written with it. On PostgreSQL that is one round trip. SQLite knows no statement
that changes two tables; there it is one transaction.

Whatever does not fit changes nothing and goes the long way, which finds out what it was (`login_flow`): a browser that
was used before, a secret or a password that was replaced while the password was verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Executable,
    FromClause,
    Insert,
    Integer,
    String,
    Table,
    bindparam,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.audit_records import AuditRecord
from server.domain.browsers import BROWSERS, Browser, new_secret, note_secret
from server.domain.consumption import Execute, run_in_transaction
from server.domain.login_attempts import give_back, give_back_parameters, give_back_statement
from server.domain.policy.lockout import Budget
from server.domain.sessions import SESSIONS, Session, session_values
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from server.infra.database import detached, table_of

_USERS: Final = table_of(User)
#: What follows, each with the prefix of its parameters.
_FOLLOWING: Final = ((SESSIONS, "session_"), (table_of(AuditRecord), "audit_"))
_REPLACED: Final = (
    "secret_digest",
    "previous_secret_digest",
    "secret_replaced_at",
    "current_session_id",
    "last_seen_at",
)


def sign_in_first(
    work: UnitOfWork, browser: Browser, user: User, how: tuple[list[str], str], budgets: tuple[Budget, ...]
) -> tuple[Session, str] | None:
    """Signs `user` in as the first on `browser`, and gives the attempt back; None when nothing was changed.

    It is part of the work's transaction if one has begun, otherwise it is committed at once.

    Args:
        work: the unit of work, on behalf of the person.
        browser: as it was read when the request came.
        user: as they were read before the password was verified.
        how: the `amr` and the `acr` of the session.
        budgets: those the attempt was taken from.

    Returns:
        The session, for reading only, and the browser's new cookie secret.
    """
    if browser.secret_replaced_at is not None:
        return None
    now, counts_here = work.now, work.runtime.limits.store is None
    session = session_values(work, browser, user, *how)
    secret, replaced = new_secret(browser, session["id"], now)
    audit_row = audit_log.row_of(work, AuditEvent.LOGIN_SUCCEEDED, user_id=user.id)
    parameters = {
        "verified_user": user.id,
        "verified_hash": user.password_hash,
        "taken_browser": browser.id,
        "presented_digest": browser.presented_digest,
        **{f"new_{name}": value for name, value in replaced.items()},
        **{f"session_{name}": value for name, value in session.items()},
        **{f"audit_{name}": value for name, value in audit_row.items()},
        **(give_back_parameters(budgets, now) if counts_here else {}),
    }
    if not _write(work, parameters, len(budgets) if counts_here else 0):
        return None
    if not counts_here:
        give_back(work, budgets)
    work.runtime.metrics.tell(AuditEvent.LOGIN_SUCCEEDED)
    note_secret(browser, replaced)
    return detached(Session, list(session.values())), secret


def _write(work: UnitOfWork, parameters: Mapping[str, Any], budgets: int) -> bool:
    autocommit = work.runtime.autocommit
    write = _at_once if autocommit.engine.dialect.name == "postgresql" else _in_turn
    if work.is_in_transaction:
        work.db.flush()
        return write(partial(run_in_transaction, work), parameters, budgets)
    return autocommit.together(lambda change: write(change, parameters, budgets))


def _at_once(execute: Execute, parameters: Mapping[str, Any], budgets: int) -> bool:
    return bool(execute(_one_statement(budgets), parameters))


def _in_turn(execute: Execute, parameters: Mapping[str, Any], budgets: int) -> bool:
    if not execute(_taking(), parameters):
        return False
    for statement in _statements(budgets):
        execute(statement, parameters)
    return True


@cache
def _taking() -> ReturningUpdate[Any]:
    """The person may still sign in with what was verified, and the browser is still as it was: then it is theirs.

    The person's row is held: a reset or a suspension waits, and finds the session, or is waited for and found.
    """
    person = (
        select(bindparam("taken_browser", type_=String()).label("browser_id"))
        .where(
            _USERS.c.id == bindparam("verified_user"),
            _USERS.c.password_hash == bindparam("verified_hash"),
            _USERS.c.disabled_at.is_(None),
        )
        .with_for_update(key_share=True)
        .cte("person")
    )
    return (
        update(BROWSERS)
        .where(
            BROWSERS.c.id == person.c.browser_id,
            BROWSERS.c.secret_digest == bindparam("presented_digest"),
            BROWSERS.c.secret_replaced_at.is_(None),
        )
        .values({name: bindparam(f"new_{name}", type_=BROWSERS.c[name].type) for name in _REPLACED})
        .returning(BROWSERS.c.id)
    )


def _inserting(table: Table, prefix: str, after: FromClause | None = None) -> Insert:
    columns = [column for column in table.columns if column is not table.autoincrement_column]
    source = select(*(bindparam(prefix + column.name, type_=column.type) for column in columns))
    return insert(table).from_select(columns, source if after is None else source.select_from(after))


@cache
def _statements(budgets: int) -> Sequence[Executable]:
    inserts = [_inserting(table, prefix) for table, prefix in _FOLLOWING]
    return [*inserts, give_back_statement(budgets)] if budgets else inserts


@cache
def _one_statement(budgets: int) -> Executable:
    taken = _taking().cte("taken")
    done: ColumnElement[int] = literal_column("1")
    following = [_inserting(table, prefix, taken).returning(done).cte(f"{prefix}row") for table, prefix in _FOLLOWING]
    if budgets:
        following.append(give_back_statement(budgets, after="taken").columns(done=Integer()).cte("given_back"))
    return select(taken.c.id).add_cte(*following)
