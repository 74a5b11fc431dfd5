"""Spending something that can be spent once, and writing what takes its place: all of it or nothing.

One conditional UPDATE decides: of any number of simultaneous uses exactly one sees its row change. What follows from it
is inserted by the same statement on PostgreSQL, which makes it one round trip and one commit. SQLite knows no statement
that changes two tables; there it is one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    CTE,
    ColumnElement,
    Executable,
    FromClause,
    Select,
    String,
    bindparam,
    insert,
    literal,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.dml import Insert, ReturningUpdate
from sqlalchemy.sql.functions import FunctionElement

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.audit_records import AuditRecord
from server.domain.grants import Grant
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import table_of
from server.infra.prepared import Rows

Execute: TypeAlias = Callable[[Executable, Mapping[str, Any]], Rows]
#: The spent row's columns as the UPDATE returns them.
Spent: TypeAlias = FromClause

_AUDIT: Final = "audit_"
_AUDIT_EVENTS: Final = table_of(AuditRecord)


class Consumption:
    """One kind of spending, prepared for both databases. `spend` returns what the other parts read from `Spent`."""

    def __init__(
        self,
        spend: ReturningUpdate[Any],
        inserts: Sequence[Callable[[Spent], Insert]],
        answer: Callable[[Spent], Select[Any]],
    ) -> None:
        self._spend, self._inserts, self._answer = spend, inserts, answer

    def run(self, work: UnitOfWork, parameters: Mapping[str, Any]) -> Sequence[Any] | None:
        """Spends and inserts, in the work's transaction if it has begun one; returns the answer's row, or None.

        None says that the UPDATE changed nothing: it was spent before, or its conditions do not hold.
        """
        if work.is_in_transaction:
            work.db.flush()
            return self._run_with(work, partial(run_in_transaction, work), parameters)
        # The row that is spent: of simultaneous uses all but one wait for it.
        return work.runtime.autocommit.together(
            lambda change: self._run_with(work, change, parameters), parameters["digest"]
        )

    def _run_with(self, work: UnitOfWork, execute: Execute, parameters: Mapping[str, Any]) -> Sequence[Any] | None:
        if work.runtime.autocommit.engine.dialect.name == "postgresql":
            rows = execute(self._at_once, parameters)
            return rows[0] if rows else None
        spent = execute(self._spend, parameters)
        if not spent:
            return None
        names = (f"spent_{column.name}" for column in self._spend.exported_columns)
        values = {**parameters, **dict(zip(names, spent[0], strict=True))}
        inserts, answer = self._in_turn
        for statement in inserts:
            execute(statement, values)
        return execute(answer, values)[0]

    @cached_property
    def _at_once(self) -> Select[Any]:
        spent = self._spend.cte("spent")
        followers: list[CTE] = []
        for number, build in enumerate(self._inserts):
            followers.append(build(spent).returning(literal(1)).cte(f"inserted_{number}"))
        return self._answer(spent).add_cte(*followers)

    @cached_property
    def _in_turn(self) -> tuple[list[Insert], Select[Any]]:
        columns = self._spend.exported_columns
        spent = select(*(bindparam(f"spent_{c.name}", type_=c.type).label(c.name) for c in columns)).subquery("spent")
        return [build(spent) for build in self._inserts], self._answer(spent)


def run_in_transaction(work: UnitOfWork, statement: Executable, parameters: Mapping[str, Any]) -> Rows:
    """The rows of one statement in the transaction that the work has begun."""
    result = work.db.connection().execute(statement, parameters)
    return result.all() if result.returns_rows else ()


class _JsonObject(FunctionElement[Any]):
    """A JSON object made by the database; the two call the same function by two names."""

    inherit_cache = True
    name = "json_object"


@compiles(_JsonObject, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_build_object({compiler.process(element.clauses, **options)})"


@compiles(_JsonObject, "sqlite")
def _on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_object({compiler.process(element.clauses, **options)})"


def audit_insert(spent: Spent) -> Insert:
    """The audit row of a spending, about the grant that `spent` names; the rest comes from `audit_parameters`."""
    values: dict[str, ColumnElement[Any]] = {
        name: bindparam(_AUDIT + name, type_=_AUDIT_EVENTS.c[name].type)
        for name in ("at", "event", "actor_kind", "actor_id", "client_id", "ip", "user_agent", "request_id")
    }
    values["user_id"] = table_of(Grant).c.user_id
    grant_type = bindparam("audit_grant_type", type_=String())
    values["details"] = _JsonObject(
        literal("grant_id", String), spent.c.grant_id, literal("grant_type", String), grant_type
    )
    source = select(*values.values()).select_from(spent).join(Grant, Grant.id == spent.c.grant_id)
    return insert(_AUDIT_EVENTS).from_select(list(values), source)


def audit_parameters(work: UnitOfWork, event: AuditEvent, client_id: str, grant_type: str) -> dict[str, Any]:
    """The parameters of `audit_insert` for `event`."""
    row = audit_log.row_of(work, event, client_id=client_id)
    known = {_AUDIT + name: value for name, value in row.items() if name not in {"user_id", "details"}}
    return {**known, "audit_grant_type": grant_type}
