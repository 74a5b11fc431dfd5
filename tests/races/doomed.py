"""A process that answers one request with the real application and kills itself at a chosen point of it.

Reads one order a line on standard input, each answered by a fork of its own, and writes what became of it on standard
output. A point lies before and after every call that reaches the database, whichever layer makes it (the hooks sit in
the two drivers), and before the response. Only the request's own thread has points. Started by `failpoints.py`.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from typing import Any
from wsgiref.util import setup_testing_defaults

import psycopg

from server.app import create_serving_app
from server.infra.registry_listener import RegistryListener

Call = Callable[..., Any]


class Points:
    """Counts the points of one request; the fatal one is the process's last."""

    def __init__(self, fatal: int, report: int) -> None:
        self._fatal, self._report = fatal, report
        self._thread: int | None = None
        self._count = 0

    def arm(self) -> None:
        """From now on this thread has points."""
        self._thread = threading.get_ident()

    def reach(self, label: str) -> None:
        """A point: nothing, or the end."""
        if threading.get_ident() != self._thread:
            return
        self._count += 1
        if self._count == self._fatal:
            os.write(self._report, json.dumps({"point": label}).encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call: Call, label: Callable[..., str]) -> Call:
        """The call with a point before and one after."""

        def wrapped(*arguments: Any, **options: Any) -> Any:
            name = label(*arguments)
            self.reach(f"before {name}")
            try:
                return call(*arguments, **options)
            finally:
                self.reach(f"after {name}")

        return wrapped


def _statement(_: object, statement: object = "", *__: object) -> str:
    return " ".join(str(statement).split())[:60]


def hook_sqlite(points: Points) -> None:
    """Every statement, commit and rollback of the standard library's driver."""

    class Cursor(sqlite3.Cursor):
        execute = points.around(sqlite3.Cursor.execute, _statement)
        executemany = points.around(sqlite3.Cursor.executemany, _statement)

    class Connection(sqlite3.Connection):
        # Makes a cursor of its own, past `cursor` below.
        execute = points.around(sqlite3.Connection.execute, _statement)
        commit = points.around(sqlite3.Connection.commit, lambda _: "COMMIT")
        rollback = points.around(sqlite3.Connection.rollback, lambda _: "ROLLBACK")

        def cursor(self, factory: type[sqlite3.Cursor] = Cursor) -> sqlite3.Cursor:
            return super().cursor(factory)

    connect = sqlite3.connect

    def connect_hooked(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, **{"factory": Connection, **options})

    sqlite3.connect = sqlite3.dbapi2.connect = connect_hooked  # type: ignore[assignment]


def hook_postgres(points: Points) -> None:
    """Every round trip: whatever psycopg sends, it sends from a generator that `wait` drives."""
    psycopg.Connection.wait = points.around(  # type: ignore[method-assign]
        psycopg.Connection.wait, lambda _, generator, *__: generator.__name__.strip("_")
    )


def answer_one(order: dict[str, Any], report: int) -> None:
    """Serves the order's request; does not return."""
    points = Points(order["point"], report)
    hook_sqlite(points)
    hook_postgres(points)
    _have_every_check_made()
    application = create_serving_app()
    # Opens the connection and fills what a process keeps, so that the points are those of one that has served before.
    _serve(application, order | {"path": "/oauth/introspect", "body": "token=x"})
    points.arm()
    told, content = _serve(application, order)
    points.reach("before the response")
    os.write(report, json.dumps({"status": int(told[:3]), "body": content.decode()}).encode())
    os._exit(0)


def _have_every_check_made() -> None:
    """Nothing is taken as known for some time: each request has all the points there can be, at any speed."""
    RegistryListener.listen = lambda _self, _engine: None  # type: ignore[method-assign]


def _serve(application: Call, order: dict[str, Any]) -> tuple[str, bytes]:
    """The status line and the body of a form post."""
    body = order["body"].encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": order["path"],
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": order["host"],
        "HTTP_AUTHORIZATION": order["authorization"],
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environ)
    told: list[str] = []
    content = b"".join(application(environ, lambda status, headers, *_: told.append(status)))
    return told[0], content


def main() -> None:
    """Obeys order after order until standard input ends."""
    for line in sys.stdin:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            answer_one(json.loads(line), writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told = json.loads(pipe.read() or "{}")
        _, status = os.waitpid(pid, 0)
        ending = {"is_killed": os.WIFSIGNALED(status), "exit": os.waitstatus_to_exitcode(status)}
        print(json.dumps(told | ending), flush=True)


if __name__ == "__main__":
    main()
