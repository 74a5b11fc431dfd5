"""What a revision must not do, so that the version before it goes on serving while and after it runs.

Read from the source of its `upgrade`. A column or table may be taken away one release after the last that used it: such
a revision names that release in `UNUSED_SINCE`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

_TAKES_AWAY = {"drop_column", "drop_table", "rename_table", "drop_constraint"}
_CONSTRAINTS = {"create_foreign_key", "create_check_constraint"}
_UNREADABLE = ("ALTER TABLE", "DROP TABLE", "CREATE INDEX", "CREATE UNIQUE INDEX", "LOCK TABLE")


def broken_rules(source: str) -> list[str]:
    """One sentence for each thing that `upgrade` must not do."""
    module = ast.parse(source)
    upgrade = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade")
    contracts = any(
        isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "UNUSED_SINCE" for target in node.targets)
        for node in module.body
    )
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call)]
    created = {_text(call, 0) for call in calls if _name(call) == "create_table"}
    return [rule for call in calls for rule in _broken_by(call, created, contracts)]


def _broken_by(call: ast.Call, created: set[str], contracts: bool) -> Iterator[str]:
    name = _name(call)
    if name in _TAKES_AWAY and not contracts:
        yield f"{name}: the version before may still use it; one release later, say so with UNUSED_SINCE"
    if name == "alter_column":
        if _option(call, "new_column_name") is not None:
            yield "alter_column: a renamed column is gone for the version before; add one and copy"
        if _option(call, "type_") is not None:
            yield "alter_column: another type breaks prepared statements; add a column and copy"
        if _is(call, "nullable", False):
            yield "alter_column: NOT NULL scans the table under a lock; add a NOT VALID check and validate it"
    if name == "add_column" and _adds_without_default(call):
        yield "add_column: NOT NULL without a server default fails what the version before inserts"
    if name == "create_index" and _text(call, 1) not in created and not _is(call, "postgresql_concurrently", True):
        yield "create_index: without postgresql_concurrently it stops every writer"
    if name in _CONSTRAINTS and _text(call, 1) not in created and not _is(call, "postgresql_not_valid", True):
        yield f"{name}: without postgresql_not_valid it scans the table under a lock"
    if name == "execute" and any(word in _text(call, 0).upper() for word in _UNREADABLE):
        yield "execute: schema changes are written with Alembic's operations, which can be read"


def _adds_without_default(call: ast.Call) -> bool:
    columns = [argument for argument in call.args if isinstance(argument, ast.Call)]
    return any(_is(column, "nullable", False) and _option(column, "server_default") is None for column in columns)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _text(call: ast.Call, position: int) -> str:
    return ast.unparse(call.args[position]).strip("'\"") if len(call.args) > position else ""


def _option(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _is(call: ast.Call, name: str, value: object) -> bool:
    option = _option(call, name)
    return isinstance(option, ast.Constant) and option.value is value
