"""Refresh rotation against the bare database drivers: spend one row, insert its successor, durably.

Run as `python -m bench.floors.rotation URL SECONDS CLIENTS`; prints one JSON object. URL is a PostgreSQL address or the
path of an SQLite file that is made anew.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg

_TABLE = "CREATE TABLE floor_tokens (digest text PRIMARY KEY, family text NOT NULL, consumed_at text)"
_ROTATE = """
    WITH spent AS (
        UPDATE floor_tokens SET consumed_at = 'now' WHERE digest = %s AND consumed_at IS NULL RETURNING family
    )
    INSERT INTO floor_tokens (digest, family) SELECT %s, family FROM spent RETURNING digest
"""

Rotate = Callable[[str, str], None]


def _on_postgres(url: str, client: int) -> tuple[Rotate, str]:
    """One statement in autocommit, prepared: one round trip and one commit."""
    connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)
    with suppress(psycopg.errors.DuplicateTable, psycopg.errors.UniqueViolation):
        connection.execute(_TABLE)
    first = f"{time.time_ns()}-{client}"
    connection.execute("INSERT INTO floor_tokens VALUES (%s, 'family', NULL)", (first,))

    def rotate(old: str, new: str) -> None:
        if connection.execute(_ROTATE, (old, new)).fetchone() is None:
            raise RuntimeError("nothing was rotated")

    return rotate, first


def _on_sqlite(path: str, _client: int) -> tuple[Rotate, str]:
    """The same in one transaction; WAL and synchronous=FULL, as in the server."""
    Path(path).unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(_TABLE)
    connection.execute("INSERT INTO floor_tokens VALUES ('first', 'family', NULL)")

    def rotate(old: str, new: str) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "UPDATE floor_tokens SET consumed_at = 'now' WHERE digest = ? AND consumed_at IS NULL", (old,)
        )
        connection.execute("INSERT INTO floor_tokens (digest, family) VALUES (?, 'family')", (new,))
        connection.execute("COMMIT")

    return rotate, "first"


def _chain(rotate: Rotate, first: str, seconds: float, latencies: list[float]) -> None:
    deadline = time.perf_counter() + seconds
    old, number, now = first, 0, time.perf_counter()
    while now < deadline:
        new = f"{first}-{number}"
        rotate(old, new)
        old, number, before, now = new, number + 1, now, time.perf_counter()
        latencies.append(now - before)


def main(url: str, seconds: float, clients: int) -> None:
    """Rotates for so long from so many connections."""
    connect = _on_postgres if url.startswith("postgresql") else _on_sqlite
    latencies: list[float] = []
    chains = [connect(url, client) for client in range(clients)]
    threads = [threading.Thread(target=_chain, args=(rotate, first, seconds, latencies)) for rotate, first in chains]
    cpu, began = time.process_time(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    print(json.dumps({**used, "latencies": latencies}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
