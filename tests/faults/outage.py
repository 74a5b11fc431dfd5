"""Takes PostgreSQL away under load and brings it back; counts what clients were told and how long they waited.

    python -m tests.faults.outage --mode stop --seconds 30 --rate 200

`stop` ends the database's processes, `freeze` stops them without ending them (SIGSTOP: its port still accepts),
`black-hole` lets its connections stand while nothing passes through them any more, and `slow` holds every piece up for
30 seconds.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.faults.load import IN_MEMORY, Load, Sample, count, create_machine, percentile
from tests.faults.replicas import Replica, replicas
from tests.interop.registry import create_account, create_client
from tests.properties.results import keep
from tests.support.servers import PostgresCluster, _as_postgres, postgres_cluster
from tests.support.tcp_proxy import TcpProxy

MODES = ("stop", "freeze", "black-hole", "slow")
#: What a request may take that was under way when the database went.
FAILURE_SECONDS = 2.5
#: How late each piece comes to and from a slow database.
SLOW_SECONDS = 30
PROMISE = (
    "PostgreSQL is stopped, frozen (SIGSTOP), cut off without a word or 30 s late while requests arrive: each that "
    "needs it is answered 503 with Retry-After within 2.5 s, none 401 or invalid_grant; the JWKS and the metadata are "
    "served; 5 s after it is back everything works, and no worker was restarted."
)
RECOVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Report:
    """What clients saw between the moment the database went and the moment everything worked again."""

    mode: str
    samples: list[Sample]
    gone_at: float
    back_at: float
    worker_restarts: int
    #: The end of what the server wrote, for whoever looks for the cause of an odd answer.
    log: str

    @property
    def during(self) -> list[Sample]:
        """Requests that needed the database and were made while it was away."""
        return [
            sample
            for sample in self.samples
            if sample.kind not in IN_MEMORY and self.gone_at <= sample.began and sample.began + 0.1 < self.back_at
        ]

    @property
    def failures(self) -> list[Sample]:
        """Everything that was not answered as it should be, at any time."""
        return [sample for sample in self.samples if sample.status == 0 or sample.status >= 400 or sample.error]

    @property
    def impolite(self) -> list[Sample]:
        """Failures that are not a 503 with Retry-After and no-store: among them every 401 and `invalid_grant`."""
        return [sample for sample in self.failures if not sample.is_polite_failure]

    @property
    def served_from_memory(self) -> set[int]:
        """What the JWKS and the metadata answered, all along."""
        return {sample.status for sample in self.samples if sample.kind in IN_MEMORY}

    @property
    def failure_p99(self) -> float:
        """Seconds within which 99 of 100 failures were told."""
        return percentile([sample.seconds for sample in self.failures], 0.99)

    @property
    def recovery(self) -> float:
        """Seconds from the database's return to the last failure."""
        ends = [sample.began + sample.seconds for sample in self.failures]
        return max(0.0, max(ends, default=self.back_at) - self.back_at)

    @property
    def figures(self) -> str:
        """What is told of the run elsewhere."""
        polite = sum(sample.is_polite_failure for sample in self.during)
        return (
            f"away for {self.back_at - self.gone_at:.0f} s, {polite} of {len(self.during)} answers 503 with "
            f"Retry-After, {len(self.impolite)} others, p99 of failures {self.failure_p99:.2f} s, well again after "
            f"{self.recovery:.1f} s, {self.worker_restarts} workers restarted"
        )

    def __str__(self) -> str:
        polite = sum(sample.is_polite_failure for sample in self.during)
        impolite = count(self.impolite, lambda sample: (sample.kind, sample.status, sample.error))
        lines = [
            f"{self.mode}: away for {self.back_at - self.gone_at:.1f} s, {len(self.samples)} requests",
            f"needed the database while it was away: {len(self.during)}, of them 503 with Retry-After: {polite}",
            f"other failures, among them 401 and invalid_grant: {len(self.impolite)} {impolite or ''}",
            f"by kind: {count(self.failures, lambda sample: (sample.kind, sample.status))}",
            f"JWKS and metadata answered: {sorted(self.served_from_memory)}",
            f"p99 of failures: {self.failure_p99:.2f} s",
            f"recovery: {self.recovery:.1f} s, worker restarts: {self.worker_restarts}",
        ]
        return "\n".join([*lines, self.log] if self.impolite else lines)


class Database:
    """A cluster that can be taken away."""

    def __init__(self, cluster: PostgresCluster) -> None:
        self._data = cluster.directory / "data"
        self._directory = cluster.directory

    def _processes(self) -> list[int]:
        main = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *map(int, children)]

    def _signal(self, number: int) -> None:
        for process in self._processes():
            with suppress(ProcessLookupError):
                _kill(process, number)

    def freeze(self) -> None:
        """Stops every process of it; the kernel still takes connections for it."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets them go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends it, with every connection to it, as an operator would."""
        _kill(self._processes()[0], signal.SIGINT)
        _until(lambda: not (self._data / "postmaster.pid").exists())

    def start(self) -> None:
        """Starts it again and returns when it accepts connections."""
        command = shlex.split((self._data / "postmaster.opts").read_text())
        with (self._directory / "log").open("ab") as log:
            subprocess.Popen(
                [*_as_postgres(self._directory), *command],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ).returncode = 0  # the cluster's own end waits for it
        _until(lambda: "ready" in (self._data / "postmaster.pid").read_text())


def _kill(process: int, number: int) -> None:
    subprocess.run(["kill", f"-{number}", str(process)], check=False, capture_output=True)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while True:
        with suppress(OSError):
            if condition():
                return
        assert time.monotonic() < deadline, "the database did not do as it was told"
        time.sleep(0.05)


@contextmanager
def away(mode: str, database: Database, path: TcpProxy) -> Iterator[None]:
    """The database is away until the context ends."""
    leave, come_back = {
        "stop": (database.stop, database.start),
        "freeze": (database.freeze, database.thaw),
        "black-hole": (path.black_hole, path.heal),
        "slow": (partial(path.delay, SLOW_SECONDS), partial(path.delay, 0)),
    }[mode]
    leave()
    try:
        yield
    finally:
        come_back()


def run(
    directory: Path, cluster: PostgresCluster, *, mode: str, seconds: float, rate: float, workers: int = 2
) -> Report:
    """Loads a replica, takes its database away for `seconds`, and watches until it is well again."""
    url = make_url(cluster.create_database())
    path = TcpProxy((str(url.host), int(url.port or 5432)))
    through = url.set(port=path.port).render_as_string(hide_password=False)
    try:
        # Longer than the outage: a refresh that was cut off in its commit is retried when the database is back.
        settings = {"GATEPOST_REFRESH_REPLAY_WINDOW": "60"}
        with replicas(directory, through, 1, workers=workers, settings=settings) as (replica,):
            return _watch(replica, Database(cluster), path, mode, seconds, rate)
    finally:
        path.close()


def _watch(replica: Replica, database: Database, path: TcpProxy, mode: str, seconds: float, rate: float) -> Report:
    server = replica.server
    client = create_client(server, "web", "--first-party", "--refresh-token-policy", "always")
    load = Load(server.issuer, client, create_machine(server), create_account(server), rate)
    before = replica.workers()
    with load:
        time.sleep(2)
        gone_at = time.monotonic()
        with away(mode, database, path):
            time.sleep(seconds)
        back_at = time.monotonic()
        time.sleep(RECOVERY_SECONDS + 2)
    return Report(mode, load.samples, gone_at, back_at, len(replica.workers() - before), server.log_tail())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it as the command line asks; exit status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=MODES, action="append", help="by default all, one after the other")
    parser.add_argument("--seconds", type=float, default=30, help="how long it is away (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=100, help="requests a second (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    reports = []
    for mode in options.mode or MODES:
        with tempfile.TemporaryDirectory() as folder, postgres_cluster() as cluster:
            report = run(
                Path(folder), cluster, mode=mode, seconds=options.seconds, rate=options.rate, workers=options.workers
            )
        print(report)
        reports.append(report)
    broken = [f"{report.mode}: {promise}" for report in reports for promise in broken_promises(report)]
    keep(
        "outage", PROMISE, {**{r.mode: r.figures for r in reports}, "broken promises": broken or 0}, "make trust-outage"
    )
    return 1 if broken else 0


def broken_promises(report: Report, slack: float = 0.0) -> list[str]:
    """What was not as it should be, in words; `slack` is what a busy machine may add to a failure, in seconds."""
    promises = {
        "nothing was asked while the database was away": len(report.during) > 0,
        "a failure was no 503 with Retry-After": not report.impolite,
        "the JWKS or the metadata were not served": report.served_from_memory == {200},
        "failures took too long": report.failure_p99 <= FAILURE_SECONDS + slack,
        "it took too long to recover": report.recovery <= RECOVERY_SECONDS,
        "a worker was restarted": report.worker_restarts == 0,
    }
    return [name for name, is_kept in promises.items() if not is_kept]


if __name__ == "__main__":
    sys.exit(main())
