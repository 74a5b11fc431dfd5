"""Fills the disk that holds database, logs and temporary files, and frees it again, under load.

    python -m tests.faults.disk_full --cycles 20

As root the disk is a small one of its own; otherwise the server may write no file beyond what it has.
"""

from __future__ import annotations

import argparse
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.load import Load, Sample, count, create_machine
from tests.faults.replicas import Replica, replicas
from tests.interop.registry import create_account, create_client

#: Kinds that only read, and so are answered on a full disk too.
READS = ("introspect", "jwks", "metadata", "userinfo")
WRITES = ("authorize", "refresh")
_MEBIBYTES = 24


@dataclass(frozen=True)
class Report:
    """What clients saw while the disk was full, and after."""

    full: list[Sample]
    freed: list[Sample]
    integrity: str
    worker_restarts: int

    @property
    def broken_promises(self) -> list[str]:
        """What was not as it should be, in words."""
        reads = [sample for sample in self.full if sample.kind in READS]
        writes = [sample for sample in self.full if sample.kind in WRITES]
        odd = [sample for sample in writes if sample.status != 200 and not sample.is_polite_failure]
        promises = {
            "no write was refused": any(sample.is_polite_failure for sample in writes),
            "a write was refused with something else than 503": not [s for s in odd if s.status != 303],
            "a read failed": {sample.status for sample in reads} == {200},
            "something failed after the disk was freed": {sample.status for sample in self.freed} <= {200, 303},
            "the database is damaged": self.integrity == "ok",
            "a worker was restarted": self.worker_restarts == 0,
        }
        return [name for name, is_kept in promises.items() if not is_kept]

    def __str__(self) -> str:
        return (
            f"full: {count(self.full, lambda sample: (sample.kind, sample.status))}\n"
            f"freed: {count(self.freed, lambda sample: (sample.kind, sample.status))}\n"
            f"integrity: {self.integrity}, worker restarts: {self.worker_restarts}\n"
            f"broken promises: {self.broken_promises}"
        )


class SmallDisk:
    """A filesystem of its own that is soon full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, _replica: Replica) -> None:
        """Leaves no room."""
        with self._ballast.open("wb", buffering=0) as ballast:
            for size in (65536, 4096, 512, 1):
                try:
                    while True:
                        ballast.write(b"x" * size)
                except OSError:
                    continue

    def free(self, _replica: Replica) -> None:
        """Makes room again."""
        self._ballast.unlink()


class NoRoom:
    """The same for a process that may write no further into any file, where no filesystem can be made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, replica: Replica) -> None:
        """Leaves no room."""
        self._limit(replica, 1)

    def free(self, replica: Replica) -> None:
        """Makes room again."""
        self._limit(replica, resource.RLIM_INFINITY)

    def _limit(self, replica: Replica, size: int) -> None:
        for process in replica.workers():
            resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextmanager
def small_disk(folder: Path, may_mount: bool) -> Iterator[SmallDisk | NoRoom]:
    """What can run out of room in `folder`."""
    folder.mkdir()
    may_mount = may_mount and os.geteuid() == 0
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_MEBIBYTES}m", "gatepost-test", str(folder)]
    if not may_mount or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        yield NoRoom(folder)
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def run(folder: Path, *, cycles: int, may_mount: bool = True, seconds: float = 2.0, rate: float = 40.0) -> Report:
    """Fills and frees the disk `cycles` times under load."""
    full: list[Sample] = []
    freed: list[Sample] = []
    with small_disk(folder, may_mount) as disk:
        database = disk.folder / "gatepost.sqlite"
        url, settings = f"sqlite:///{database}", {"TMPDIR": str(disk.folder), "GATEPOST_LOG_FORMAT": "json"}
        with replicas(disk.folder / "run", url, 1, workers=2, settings=settings) as (replica,):
            server = replica.server
            client = create_client(server, "web", "--first-party", "--refresh-token-policy", "always")
            before = replica.workers()
            load = Load(server.issuer, client, create_machine(server), create_account(server), rate, READS + WRITES)
            with load:
                for _ in range(cycles):
                    disk.fill(replica)
                    full += _samples_of(load, seconds)
                    disk.free(replica)
                    time.sleep(1)
                    freed += _samples_of(load, seconds)
            restarts = len(replica.workers() - before)
        with sqlite3.connect(database) as connection:
            integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
        connection.close()
    return Report(full, freed, integrity, restarts)


def _samples_of(load: Load, seconds: float) -> list[Sample]:
    """The requests of the next seconds, without those that began before."""
    since = time.monotonic()
    time.sleep(seconds)
    until = time.monotonic()
    return [sample for sample in load.samples if since <= sample.began and sample.began + sample.seconds <= until]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it as the command line asks; exit status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=20)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder) / "disk", cycles=options.cycles)
    print(report)
    return 1 if report.broken_promises else 0


if __name__ == "__main__":
    sys.exit(main())
