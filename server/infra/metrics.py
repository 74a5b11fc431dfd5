"""Figures about this process: counted where things happen, cheaply, and read by whoever serves them.

Labels are names of ours (endpoints, grant types, error codes, events), never anything a request holds: the number of
series is bounded whatever is sent. `docs/operations.md` lists the families.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

#: Upper bounds in seconds; the last one is everything above.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

#: A family's name and the values of its labels.
Series: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """One name in the exposition."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    description: str


FAMILIES: Final = (
    Family("gatepost_requests", "counter", ("endpoint", "method", "status"), "Requests answered."),
    Family(
        "gatepost_request_duration_seconds",
        "histogram",
        ("endpoint",),
        "Time to answer, with the wait for its turn, without the wait for a slow client's body.",
    ),
    Family("gatepost_tokens_issued", "counter", ("grant_type", "client_type"), "Access tokens issued."),
    Family("gatepost_refusals", "counter", ("endpoint", "error"), "OAuth errors answered."),
    Family("gatepost_logins", "counter", ("outcome",), "Sign-ins that succeeded, failed or were limited."),
    Family("gatepost_audit_events", "counter", ("event",), "Audit events written."),
    Family("gatepost_audit_queue_rows", "gauge", (), "Audit rows that wait to be written."),
    Family("gatepost_database_connections", "gauge", ("state",), "Connections of the pools: open, and in use."),
    Family("gatepost_database_up", "gauge", (), "Whether the database answered when the figures were read."),
    Family("gatepost_signing_key_age_seconds", "gauge", ("kid", "alg", "state"), "Age of each published signing key."),
    Family("gatepost_sweeper_lag_seconds", "gauge", (), "Time since a round of housekeeping was finished."),
    Family("gatepost_limits_store_away", "gauge", (), "Workers that count attempts by themselves: Redis is away."),
    Family("gatepost_limits_outages", "counter", (), "Times that Redis went away."),
    Family("gatepost_limits_refused", "gauge", (), "Clients and networks refused now, added up over the workers."),
    Family("gatepost_workers", "gauge", (), "Workers that are alive."),
)


@dataclass
class Snapshot:
    """The figures of one process at one moment."""

    #: By the machine's monotonic clock, which its processes share.
    at: float
    #: Counters by series.
    counts: dict[Series, int]
    #: By endpoint, method and status class: requests by bucket, and the sum of their seconds at the end.
    requests: dict[Series, list[float]]
    #: What is added up over the processes.
    gauges: dict[Series, float]
    #: When housekeeping was last finished here, or began to be waited for.
    swept_at: float


class Metrics:
    """The figures of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Series, int] = {}
        self._requests: dict[Series, list[float]] = {}
        self._watched: list[tuple[Series, Callable[[], float]]] = []
        self._swept_at = time.monotonic()

    def observe(self, endpoint: str, method: str, status: str, seconds: float) -> None:
        """Counts one answered request; of `status` ("200 OK") the first digit."""
        series = (endpoint, method, status[0])
        bucket = bisect_left(BUCKETS, seconds)
        with self._lock:
            row = self._requests.get(series)
            if row is None:
                row = self._new_row(endpoint, method, status[0])
            row[bucket] += 1
            row[-1] += seconds

    def _new_row(self, endpoint: str, method: str, status: str) -> list[float]:
        series = (endpoint, method if method in _METHODS else "other", status)
        return self._requests.setdefault(series, [0.0] * (len(BUCKETS) + 2))

    def issue(self, grant_type: str, client_type: str) -> None:
        """Counts an access token."""
        self._count("gatepost_tokens_issued", grant_type, client_type)

    def refuse(self, endpoint: str, error: str) -> None:
        """Counts an OAuth error; both are names of ours."""
        self._count("gatepost_refusals", endpoint, error)

    def tell(self, event: str) -> None:
        """Counts an audit event."""
        self._count("gatepost_audit_events", event)

    def swept(self) -> None:
        """Notes that a round of housekeeping is finished."""
        self._swept_at = time.monotonic()

    def watch(self, name: str, *labels: str, value: Callable[[], float]) -> None:
        """Asks `value` whenever the figures are read; over all processes the values are added up."""
        self._watched.append(((name, *labels), value))

    def snapshot(self) -> Snapshot:
        """The figures as they are now."""
        with self._lock:
            counts = dict(self._counts)
            requests = {series: list(row) for series, row in self._requests.items()}
        gauges: dict[Series, float] = {}
        for series, value in self._watched:
            gauges[series] = gauges.get(series, 0) + value()
        return Snapshot(time.monotonic(), counts, requests, gauges, self._swept_at)

    def _count(self, *series: str) -> None:
        with self._lock:
            self._counts[series] = self._counts.get(series, 0) + 1


def to_document(snapshot: Snapshot) -> dict[str, Any]:
    """What JSON can hold."""
    return {
        "at": snapshot.at,
        "counts": list(snapshot.counts.items()),
        "requests": list(snapshot.requests.items()),
        "gauges": list(snapshot.gauges.items()),
        "swept_at": snapshot.swept_at,
    }


def from_document(document: dict[str, Any]) -> Snapshot:
    """The snapshot that `to_document` took apart.

    Raises:
        KeyError, TypeError, ValueError: when the document is none.
    """
    return Snapshot(
        float(document["at"]),
        {tuple(series): int(count) for series, count in document["counts"]},
        {tuple(series): [float(cell) for cell in row] for series, row in document["requests"]},
        {tuple(series): float(value) for series, value in document["gauges"]},
        float(document["swept_at"]),
    )
