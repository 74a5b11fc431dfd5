"""Prometheus' page: the figures of all workers, on an address of its own that no proxy leads to.

Each worker tries to listen; one succeeds, and when it ends another takes over. Who may read the page is a matter of the
address: it knows no login.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import Pool, QueuePool

from server.domain.signing_keys import PUBLISHED, StoredSigningKey
from server.domain.unit_of_work import Runtime
from server.infra.database import open_engine, outside_transactions
from server.infra.metrics import BUCKETS, FAMILIES, Family, Metrics, Series
from server.infra.metrics_exchange import MetricsExchange, folder_of_server
from server.infra.ports import split_bind

log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 0.5

_PUBLISHED_KEYS: Final = select(
    StoredSigningKey.kid, StoredSigningKey.algorithm, StoredSigningKey.state, StoredSigningKey.created_at
).where(StoredSigningKey.state.in_(PUBLISHED))

#: Key id, algorithm, state and age in seconds of each published key.
KeyAge = tuple[str, str, str, float]


class MetricsPage(Collector):
    """What is read when Prometheus asks."""

    def __init__(
        self, metrics: Metrics, exchange: MetricsExchange, key_ages: Callable[[], Sequence[KeyAge] | None]
    ) -> None:
        self._metrics, self._exchange, self._key_ages = metrics, exchange, key_ages

    def collect(self) -> Iterator[Metric]:
        """Every family, over all workers."""
        self._exchange.publish(self._metrics.snapshot())
        values: dict[Series, float] = {}
        durations: dict[str, list[float]] = {}
        swept_at, workers = 0.0, 0
        for snapshot, is_alive in self._exchange.snapshots():
            _add(values, snapshot.counts.items())
            for (endpoint, method, status), row in snapshot.requests.items():
                count = sum(row[:-1])
                _add(values, [(("gatepost_requests", endpoint, method, f"{status}xx"), count)])
                total = durations.setdefault(endpoint, [0.0] * len(row))
                total[:] = [one + other for one, other in zip(total, row, strict=True)]
            if is_alive:
                workers += 1
                swept_at = max(swept_at, snapshot.swept_at)
                _add(values, snapshot.gauges.items())
        values[("gatepost_workers",)] = workers
        values[("gatepost_sweeper_lag_seconds",)] = max(0.0, time.monotonic() - swept_at)
        self._read_keys(values)
        _count_logins(values)
        for family in FAMILIES:
            if family.kind == "histogram":
                yield _histogram(family, durations)
            else:
                yield _metric(family, values)

    def _read_keys(self, values: dict[Series, float]) -> None:
        ages = self._key_ages()
        values[("gatepost_database_up",)] = float(ages is not None)
        for kid, algorithm, state, age in ages or ():
            values[("gatepost_signing_key_age_seconds", kid, algorithm, state)] = age


class MetricsThread(threading.Thread):
    """Writes this worker's figures twice a second, and serves those of all while no other worker does."""

    def __init__(self, bind: tuple[str, int], metrics: Metrics, exchange: MetricsExchange, page: MetricsPage) -> None:
        super().__init__(name="metrics", daemon=False)
        self._bind, self._metrics, self._exchange, self._page = bind, metrics, exchange, page
        self._main = threading.main_thread()
        self._stopped = threading.Event()

    def run(self) -> None:
        """The thread's work; it is no daemon, so that a worker that is asked to end writes its last figures."""
        server = None
        while self._main.is_alive() and not self._stopped.is_set():
            self._publish()
            server = server or self._try_to_listen()
            self._stopped.wait(INTERVAL_SECONDS)
        self._publish()
        if server is not None:
            server.shutdown()
            server.server_close()
        self._exchange.close()

    def stop(self) -> None:
        """Ends it."""
        self._stopped.set()
        self.join()

    def _publish(self) -> None:
        try:
            self._exchange.publish(self._metrics.snapshot())
        except OSError as error:
            log.warning("the figures cannot be shared: %s", type(error).__name__)

    def _try_to_listen(self) -> Any:
        registry = CollectorRegistry()
        registry.register(self._page)
        host, port = self._bind
        try:
            server, _thread = start_http_server(port, host, registry)
        except OSError:
            return None
        return server


def start(runtime: Runtime, pool: Pool) -> MetricsThread | None:
    """Begins to share and to serve the figures where the settings ask for it; `pool` is the requests' own.

    Raises:
        PermissionError: when somebody else made the workers' folder.
    """
    bind = runtime.settings.metrics_bind
    if bind is None:
        return None
    exchange = MetricsExchange(folder_of_server())
    thread = MetricsThread(split_bind(bind), runtime.metrics, exchange, page_of(runtime, pool, exchange))
    thread.start()
    return thread


def page_of(runtime: Runtime, pool: Pool, exchange: MetricsExchange) -> MetricsPage:
    """The page over this process's figures and the other workers'."""
    metrics, limits = runtime.metrics, runtime.limits
    metrics.watch("gatepost_audit_queue_rows", value=runtime.audit_queue.__len__)
    metrics.watch("gatepost_limits_store_away", value=lambda: limits.is_store_away)
    metrics.watch("gatepost_limits_outages", value=lambda: limits.outages)
    metrics.watch("gatepost_limits_refused", value=limits.refused_until.__len__)
    if isinstance(pool, QueuePool):
        metrics.watch("gatepost_database_connections", "in_use", value=pool.checkedout)
        metrics.watch("gatepost_database_connections", "open", value=lambda: pool.checkedin() + pool.checkedout())
    engine = outside_transactions(open_engine(runtime.settings))
    return MetricsPage(metrics, exchange, partial(_key_ages, runtime, engine))


def _key_ages(runtime: Runtime, engine: Engine) -> list[KeyAge] | None:
    """None when the database does not answer. Over a connection of its own, so that no request waits for this one."""
    try:
        with engine.connect() as connection:
            keys = connection.execute(_PUBLISHED_KEYS).all()
    except SQLAlchemyError:
        return None
    finally:
        engine.dispose()
    now = runtime.clock.now()
    return [(key.kid, key.algorithm, key.state, (now - key.created_at).total_seconds()) for key in keys]


def _add(values: dict[Series, float], series: Iterable[tuple[Series, float]]) -> None:
    for name, value in series:
        values[name] = values.get(name, 0) + value


def _count_logins(values: dict[Series, float]) -> None:
    for outcome in ("succeeded", "failed", "limited"):
        values[("gatepost_logins", outcome)] = values.get(("gatepost_audit_events", f"login.{outcome}"), 0)


def _metric(family: Family, values: dict[Series, float]) -> Metric:
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.description, labels=family.labels)
    for series, value in sorted(values.items()):
        if series[0] == family.name:
            metric.add_metric(series[1:], value)
    return metric


def _histogram(family: Family, durations: dict[str, list[float]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.description, labels=family.labels)
    bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
    for endpoint, row in sorted(durations.items()):
        *cells, seconds = row
        so_far = [sum(cells[: number + 1]) for number in range(len(cells))]
        metric.add_metric((endpoint,), list(zip(bounds, so_far, strict=True)), seconds)
    return metric
