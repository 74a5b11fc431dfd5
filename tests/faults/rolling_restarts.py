"""Restarts replicas behind nginx, one after the other, under load, and counts the requests that failed.

    python -m tests.faults.rolling_restarts --restarts 50 --rate 60

docs/operations.md describes it: a replica is asked to end, nobody tells nginx, and it is started again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.load import Load, Sample, count, create_machine, percentile
from tests.faults.replicas import Nginx, Replica, replicas
from tests.interop.registry import create_account, create_client
from tests.properties.results import keep
from tests.support.ports import free_port
from tests.support.servers import postgres_cluster

REPLICAS = 3
#: More than nginx keeps an idle connection, as docs/operations.md wants it.
DRAIN_SECONDS = 3
PROMISE = "Three replicas behind nginx are restarted one after the other under load: no request fails."


@dataclass(frozen=True)
class Report:
    """What the restarts cost."""

    samples: list[Sample]
    restarts: int
    stop_seconds: list[float]
    exit_statuses: set[int]

    @property
    def failed(self) -> list[Sample]:
        """Requests without an answer, or with one that says the server failed."""
        return [sample for sample in self.samples if sample.status == 0 or sample.status >= 500]

    @property
    def figures(self) -> dict[str, object]:
        """What is told of the run elsewhere."""
        return {
            "restarts": self.restarts,
            "requests": len(self.samples),
            "p99 in milliseconds": round(percentile([sample.seconds for sample in self.samples], 0.99) * 1000),
            "longest stop in seconds": round(max(self.stop_seconds), 1),
            "broken promises": len(self.failed),
        }

    def __str__(self) -> str:
        seconds = [sample.seconds for sample in self.samples]
        failed = count(self.failed, lambda sample: (sample.kind, sample.status, sample.error))
        p50, p99, slowest = statistics.median(seconds), percentile(seconds, 0.99), max(seconds)
        lines = [
            f"{self.restarts} restarts of {REPLICAS} replicas, {len(self.samples)} requests",
            f"failed: {len(self.failed)} {failed or ''}",
            f"answers: {count(self.samples, lambda sample: sample.status)}",
            f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, slowest {slowest * 1000:.0f} ms",
            f"SIGTERM to the end: at most {max(self.stop_seconds):.1f} s, exit statuses {sorted(self.exit_statuses)}",
        ]
        return "\n".join(lines)


@contextmanager
def stage(directory: Path, database_url: str, drain_seconds: int, rate: float) -> Iterator[tuple[list[Replica], Load]]:
    """Replicas, nginx in front of them, and the load through it."""
    port = free_port()
    settings = {"GATEPOST_DRAIN_SECONDS": str(drain_seconds), "GATEPOST_TRUSTED_PROXIES": "127.0.0.1/32"}
    with (
        replicas(directory, database_url, REPLICAS, issuer_port=port, settings=settings) as running,
        Nginx(directory / "nginx", port, [replica.port for replica in running]),
    ):
        server = running[0].server
        client = create_client(server, "web", "--first-party", "--refresh-token-policy", "always")
        machine = create_machine(server)
        load = Load(f"http://localhost:{port}", client, machine, create_account(server), rate)
        yield running, load


def restart_all(
    directory: Path, database_url: str, *, restarts: int, rate: float, drain_seconds: int = DRAIN_SECONDS
) -> Report:
    """Restarts the replicas in turn until `restarts` are done."""
    statuses = set()
    with stage(directory, database_url, drain_seconds, rate) as (running, load):
        with load:
            for number in range(restarts):
                replica = running[number % len(running)]
                statuses.add(replica.stop())
                replica.start()
        return Report(load.samples, restarts, [s for replica in running for s in replica.stop_seconds], statuses)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it as the command line asks; exit status 1 when a request failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--rate", type=float, default=100, help="requests a second (default: %(default)s)")
    parser.add_argument("--drain-seconds", type=int, default=DRAIN_SECONDS, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, postgres_cluster() as cluster:
        report = restart_all(
            Path(folder),
            cluster.create_database(),
            restarts=options.restarts,
            rate=options.rate,
            drain_seconds=options.drain_seconds,
        )
    print(report)
    keep("rolling-restarts", PROMISE, report.figures, "make trust-restarts")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
