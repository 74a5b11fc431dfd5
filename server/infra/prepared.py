"""A statement compiled once and handed to the driver itself: SQLAlchemy's part of running it costs more than its own.

psycopg gives and takes times by itself, and gives JSON; a list that it is to take as JSON looks like an array to it.
SQLite's driver does none of that: there the columns' types are asked, as SQLAlchemy asks them, what they make of a
value on its way in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from sqlalchemy import JSON, Dialect
from sqlalchemy.sql import ClauseElement, Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

#: What a statement returned: rows of values in the order it names them.
Rows: TypeAlias = Sequence[Sequence[Any]]
_Conversion: TypeAlias = Callable[[Any], Any]


class Prepared:
    """The statement's text, the constants in it, and what becomes of its values."""

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        clause = cast("ClauseElement", statement)
        compiled = clause.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        assert isinstance(compiled, SQLCompiler)  # narrows the type: DDL alone has another
        self.sql = str(compiled)
        self._constants = dict(compiled.params)
        self._inputs: list[tuple[str, _Conversion | None]] | None = None
        self._outputs: list[tuple[int, _Conversion]] = []
        #: What psycopg would misread, by name.
        self._documents: list[tuple[str, _Conversion]] = []
        kinds = _kinds(compiled)
        if compiled.positiontup is None:
            documents = [name for name, kind in kinds.items() if isinstance(kind, JSON)]
            wrappings = ((name, into_database(kinds[name], dialect)) for name in documents)
            self._documents = [(name, wrap) for name, wrap in wrappings if wrap is not None]
        else:
            self._inputs = [(name, into_database(kinds[name], dialect)) for name in compiled.positiontup]
            conversions = (_out_of_database(column.type, dialect) for column in compiled._result_columns)
            self._outputs = [(index, convert) for index, convert in enumerate(conversions) if convert is not None]

    def run(self, driver: Any, parameters: Mapping[str, Any]) -> Rows:
        """The rows it returns; an error is the driver's own.

        Args:
            driver: the driver's connection, or of psycopg's a cursor.
            parameters: the statement's, by name.
        """
        return self.rows(self.send(driver, parameters))

    def send(self, driver: Any, parameters: Mapping[str, Any]) -> Any:
        """Hands it to the driver; returns the cursor whose `rows` are to be asked for, in a pipeline after its end."""
        values = {**self._constants, **parameters}
        for name, convert in self._documents:
            values[name] = convert(values[name])
        arguments: Any = values
        if self._inputs is not None:
            arguments = [values[name] if convert is None else convert(values[name]) for name, convert in self._inputs]
        return driver.execute(self.sql, arguments)

    def rows(self, cursor: Any) -> Rows:
        """The rows that came of it."""
        # psycopg refuses to fetch what a statement does not return; asking whether it did costs as much as the query.
        rows: Rows = cursor.fetchall()
        return [self._converted(row) for row in rows] if self._outputs else rows

    def _converted(self, row: Sequence[Any]) -> Sequence[Any]:
        values = list(row)
        for index, convert in self._outputs:
            values[index] = convert(values[index])
        return values


def _kinds(compiled: SQLCompiler) -> dict[str, TypeEngine[Any]]:
    """The type of each parameter; one that stands for a list was replaced by its elements, which are numbered."""
    kinds = {}
    for name, bind in compiled.binds.items():
        kinds[name] = bind.type
        if bind.expanding:
            kinds.update({f"{name}_{number}": bind.type for number in range(1, len(bind.effective_value or ()) + 1)})
    return kinds


def into_database(kind: TypeEngine[Any], dialect: Dialect) -> _Conversion | None:
    """What becomes of a value of this type on its way to the driver; None when it goes as it is."""
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _out_of_database(kind: TypeEngine[Any], dialect: Dialect) -> _Conversion | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)
