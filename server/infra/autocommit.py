"""One connection of the process outside transactions: for reads that need none, for changes that are one statement.

A transaction costs PostgreSQL two round trips and SQLAlchemy as much again; a request that reads one row, or whose
whole change is one statement, needs neither. The connection is opened by the first use and given up after any fault.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable

from server.config import Settings
from server.infra.database import REQUEST_PATIENCE, open_engine, outside_transactions
from server.infra.group_commit import GroupCommit
from server.infra.prepared import Prepared, Rows
from server.infra.write_lock import begin_writing, is_held

#: A statement that fails this soon on an old connection met a closed one: worth one new connection.
_AT_ONCE_SECONDS: Final = 0.5

#: What a statement waits for, the statement, its parameters.
_Brought: TypeAlias = tuple[str, Executable, Mapping[str, Any]]
#: Runs one statement and returns the rows it returns.
Change: TypeAlias = Callable[[Executable, Mapping[str, Any]], Rows]
Result = TypeVar("Result")


class Autocommit:
    """The connection; any thread may use it, one at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        #: The driver's own connection under it, or of psycopg's its one cursor: making one costs a tenth of a read.
        self._driver: Any = None
        self._prepared: dict[Executable, Prepared] = {}
        self._lock = threading.RLock()
        #: What SQLite is given together, and what PostgreSQL is.
        self._transactions = GroupCommit(self._run_in_transaction, REQUEST_PATIENCE)
        self._pipelines = GroupCommit(self._run_in_pipeline, REQUEST_PATIENCE)

    @property
    def engine(self) -> Engine:
        """The engine behind it, made when it is first asked for: a forked process makes its own."""
        if self._engine is None:
            self._engine = outside_transactions(open_engine(self._settings, REQUEST_PATIENCE))
        return self._engine

    def read(self, statement: Executable, parameters: Mapping[str, Any]) -> Rows:
        """The rows of a SELECT. A connection that the server closed while it lay idle is replaced once.

        Raises:
            OperationalError: when the database does not answer.
        """
        with self._lock:
            began = time.monotonic()
            try:
                return self.change(statement, parameters)
            except DBAPIError as error:
                if not error.connection_invalidated or time.monotonic() - began > _AT_ONCE_SECONDS:
                    raise
            return self.change(statement, parameters)

    def change(self, statement: Executable, parameters: Mapping[str, Any]) -> Rows:
        """Runs one statement, a transaction of its own; returns the rows it returns.

        Raises:
            OperationalError: when the database does not answer; whether the statement was committed is then unknown.
        """
        return self._drive(
            statement, lambda connection: self._prepare(statement, connection).run(self._driver, parameters)
        )

    def _drive(self, statement: Executable, call: Callable[[Connection], Result]) -> Result:
        """What the driver's own calls return; `statement` is named when they fail, as SQLAlchemy names it."""
        with self._lock:
            try:
                connection = self._open()
                try:
                    return call(connection)
                except connection.dialect.loaded_dbapi.Error as error:
                    raise self._as_sqlalchemy_has_it(connection, statement, error) from error
            except BaseException:
                self.close()
                raise

    def _prepare(self, statement: Executable, connection: Connection) -> Prepared:
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = self._prepared[statement] = Prepared(statement, connection.dialect)
        return prepared

    def _as_sqlalchemy_has_it(self, connection: Connection, statement: Executable, error: Exception) -> Exception:
        dialect = connection.dialect
        is_disconnect = dialect.is_disconnect(error, connection.connection.driver_connection, None)  # type: ignore[arg-type]
        return DBAPIError.instance(
            self._prepare(statement, connection).sql,
            None,
            error,
            dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=is_disconnect,
            dialect=dialect,
        )

    def together(self, statements: Callable[[Change], Result], waits_for: str | None = None) -> Result:
        """Commits what one or more changes do, in one transaction with what other requests bring meanwhile.

        On PostgreSQL what goes together is one statement, which is a transaction of its own unless it says what it
        waits for: those that do are sent together.

        Args:
            statements: makes each change through what it is given; changes nothing but the database, as it may run
                twice.
            waits_for: the key of the one row whose lock the statement takes and others may want. Groups of all
                processes take locks in the order of these keys, so that none waits for another in a circle.

        Returns:
            What `statements` returned.

        Raises:
            OperationalError: when the database does not answer.
        """
        if self.engine.dialect.name != "postgresql":
            result: Result = self._transactions.run(lambda: statements(self.change))
            return result
        if waits_for is None:
            return statements(self.change)
        return statements(lambda *change: self._pipelines.run((waits_for, *change)))

    def _run_in_transaction(self, jobs: Sequence[Callable[[], Any]], patience: float) -> Sequence[Any]:
        with self.transaction(patience):
            return [job() for job in jobs]

    def _run_in_pipeline(self, changes: Sequence[_Brought], _: float) -> Sequence[Rows]:
        """Sends PostgreSQL all statements at once; they are one transaction, as nothing says otherwise between them."""
        if len(changes) == 1:
            return [self.change(*changes[0][1:])]
        return self._drive(changes[0][1], lambda connection: self._rows_of_pipeline(connection, changes))

    def _rows_of_pipeline(self, connection: Connection, changes: Sequence[_Brought]) -> Sequence[Rows]:
        driver_connection: Any = connection.connection.driver_connection
        sent: dict[int, tuple[Prepared, Any]] = {}
        with driver_connection.pipeline():
            for number in sorted(range(len(changes)), key=lambda number: changes[number][0]):
                _, statement, parameters = changes[number]
                prepared = self._prepare(statement, connection)
                sent[number] = prepared, prepared.send(driver_connection.cursor(), parameters)
        return [prepared.rows(cursor) for prepared, cursor in (sent[number] for number in range(len(changes)))]

    @contextmanager
    def transaction(self, patience: float = REQUEST_PATIENCE) -> Iterator[None]:
        """Several statements as one transaction, for SQLite, which knows no statement that changes two tables.

        Raises:
            OperationalError: when others wrote for `patience` seconds (`write_lock.is_held`), or it cannot be written.
        """
        with self._lock:
            connection = self._begin(patience)
            try:
                try:
                    yield
                except BaseException:
                    if not connection.closed:
                        connection.exec_driver_sql("ROLLBACK")
                    raise
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                self.close()
                raise

    def _begin(self, patience: float) -> Connection:
        try:
            connection = self._open()
            begin_writing(connection, patience, REQUEST_PATIENCE)
        except BaseException as error:
            # One that waited in vain began nothing, and is as good as before.
            if not is_held(error):
                self.close()
            raise
        return connection

    def scalar(self, sql: str) -> Any:
        """One value, past SQLAlchemy, for what each request asks: a twentieth of the time.

        Raises:
            OperationalError: when the database does not answer.
        """
        with self._lock:
            try:
                if self._driver is None:
                    self._open()
                return self._driver.execute(sql).fetchone()[0]
            except Exception as error:  # each driver has its own classes; the second try has SQLAlchemy's
                self.close()
                if isinstance(error, DBAPIError) and not error.connection_invalidated:
                    raise
            return self.read(_statement(sql), {})[0][0]

    def close(self) -> None:
        """Gives the connection up; the next use opens another."""
        with self._lock:
            connection, self._connection, self._driver = self._connection, None, None
            if connection is not None:
                connection.close()

    def dispose(self) -> None:
        """Gives the connection up for good."""
        self.close()
        if self._engine is not None:
            self._engine.dispose()

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = self.engine.connect()
            driver_connection: Any = self._connection.connection.driver_connection
            is_psycopg = self._connection.dialect.name == "postgresql"
            self._driver = driver_connection.cursor() if is_psycopg else driver_connection
        return self._connection


#: The same statement for the same text: what is prepared is kept by statement.
_statement = lru_cache(maxsize=16)(text)
