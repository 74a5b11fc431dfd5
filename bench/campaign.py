"""The run: everything is started once, and then each round measures every cell in an order of its own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench.floors.subjects import FLOORS, POSTGRES_CLIENTS, RAW_POSTGRES, RAW_SQLITE, RawRotation, floor_server
from bench.gatepost import SETTINGS, Gatepost
from bench.journal import Journal, Results
from bench.load import Limits, LoadFailed
from bench.peers.registry import PEERS
from bench.subject import CLIENT_CREDENTIALS_ES256, DISCOVERY, INTROSPECTION, JWKS, LOGIN, USERINFO, Subject
from tests.support.components import postgres_tool
from tests.support.servers import PostgresCluster, ServerFailed, postgres_cluster, start_server

GATEPOST_SQLITE, GATEPOST_POSTGRES = "Gatepost, SQLite", "Gatepost, PostgreSQL"
CHEAP = (JWKS, DISCOVERY, CLIENT_CREDENTIALS_ES256, USERINFO, INTROSPECTION)
"""What the endurance run sends, in turn: the requests that take least, so that there can be many."""


IDLE_SECONDS = 3.0
"""Before memory is read: hashing gives its memory back after two."""


@dataclass(frozen=True)
class Plan:
    """What to run."""

    rounds: int
    limits: Limits
    workers: int
    databases: tuple[str, ...]
    peers: tuple[str, ...]
    #: Operations whose name contains one of these; all when there is none.
    only: tuple[str, ...] = ()
    seed: int = 0
    #: Requests that memory is watched over, after the rounds; 0 for none.
    endurance: int = 0
    #: What is not asked for, with the reason for the report.
    left_out: tuple[tuple[str, str], ...] = ()
    #: Whether OpenSSL signs as on processors without AVX-512 IFMA.
    without_ifma: bool = False


def say(text: str) -> None:
    """Progress, beside the report."""
    print(text, file=sys.stderr, flush=True)


class Campaign:
    """One run of a plan."""

    def __init__(self, plan: Plan, directory: Path, results: Results, journal: Journal) -> None:
        self._plan, self._directory, self._results, self._journal = plan, directory, results, journal
        self._stack = ExitStack()
        self._cluster: PostgresCluster | None = None
        self._root: int | None = None

    def run(self) -> None:
        """Measures everything that the plan names; the results are in the journal, too."""
        results = self._results
        results.load_before = os.getloadavg()[0]
        results.absent.update(self._plan.left_out)
        with self._stack:
            subjects = self._start_all()
            results.about = {subject.name: subject.about() for subject in subjects}
            results.differs = {subject.name: dict(subject.differs) for subject in subjects}
            for subject in subjects:
                began = time.monotonic()
                subject.warm_up(self._plan.limits)
                if time.monotonic() - began > 1:
                    say(f"warmed up {subject.name} in {time.monotonic() - began:.0f} s")
            self._run_rounds(subjects)
            for subject in subjects:
                if self._plan.endurance and isinstance(subject, Gatepost) and subject.name not in results.growth:
                    self._journal.growth(subject.name, _endure(subject, self._plan))
        results.load_after = os.getloadavg()[0]

    def _run_rounds(self, subjects: Sequence[Subject]) -> None:
        # Not a secret: only the order of the cells.
        order = random.Random(self._plan.seed)
        pending: list[tuple[int, Subject, str]] = []
        for number in range(1, self._plan.rounds + 1):
            cells = [(number, s, operation) for s in subjects for operation in s.operations if self._wanted(operation)]
            order.shuffle(cells)
            pending += [cell for cell in cells if not self._results.has(cell[1].name, cell[2], number)]
        began = time.monotonic()
        for done, (number, subject, operation) in enumerate(pending):
            left = (time.monotonic() - began) / done * (len(pending) - done) if done else 0.0
            label = f"{done + 1:4}/{len(pending)}  {left / 60:4.1f} min left  round {number}"
            self._measure(number, subject, operation, label)
            if done + 1 == len(pending) or pending[done + 1][0] != number:
                self._note_memory(subjects)

    def _measure(self, number: int, subject: Subject, operation: str, label: str) -> None:
        label = f"{label}  {subject.name:28} {operation:30}"
        try:
            sample = subject.measure(operation, self._plan.limits).in_round(number)
        except (LoadFailed, OSError, subprocess.SubprocessError) as error:
            self._results.absent[f"{subject.name}: {operation}"] = str(error).partition("\n")[0]
            say(f"{label} failed: {error}")
            return
        self._journal.sample(sample)
        memory = subject.pss_bytes() if operation == LOGIN else None
        if memory is not None:
            self._journal.memory(f"{subject.name}, right after logins", memory)
        wrong = f"  {sample.failures} wrong: {sample.complaint}" if sample.failures else ""
        say(f"{label} {sample.cpu_us:9,.0f} µs {sample.rate:9,.0f}/s{wrong}")

    def _note_memory(self, subjects: Sequence[Subject]) -> None:
        time.sleep(IDLE_SECONDS)
        for subject in subjects:
            memory = subject.pss_bytes()
            if memory is not None:
                self._journal.memory(subject.name, memory)

    def _wanted(self, operation: str) -> bool:
        # Floors are always there: nothing is measured without them.
        return not self._plan.only or operation in FLOORS or any(word in operation for word in self._plan.only)

    def _start_all(self) -> list[Subject]:
        self._start_cluster()
        subjects = []
        for name, start in [*self._floors(), *self._gateposts(), *self._peers()]:
            began = time.monotonic()
            try:
                subjects.append(start())
                say(f"started {name} in {time.monotonic() - began:.0f} s")
            except (LoadFailed, ServerFailed, OSError) as error:
                self._results.absent[name] = str(error)
                say(f"left out {name}: {error}")
        return subjects

    def _start_cluster(self) -> None:
        if "postgres" not in self._plan.databases:
            return
        try:
            postgres = [str(postgres_tool("postgres")), "--version"]
            done = subprocess.run(postgres, capture_output=True, text=True, check=True)
            self._results.postgres = done.stdout.strip()
            self._cluster = self._stack.enter_context(postgres_cluster())
            self._root = postmaster(self._cluster)
        except pytest.skip.Exception as reason:
            self._results.absent["PostgreSQL"] = str(reason)

    def _floors(self) -> Iterator[tuple[str, Callable[[], Subject]]]:
        plan, directory, cluster = self._plan, self._directory, self._cluster
        yield (
            "floor: WSGI",
            lambda: self._stack.enter_context(floor_server(plan.workers, directory / "floor.log")),
        )
        if "sqlite" in plan.databases:
            yield RAW_SQLITE, lambda: RawRotation(RAW_SQLITE, str(directory / "floor.sqlite"), 1, None)
        if cluster is not None:
            yield (
                RAW_POSTGRES,
                lambda: RawRotation(RAW_POSTGRES, cluster.create_database(), POSTGRES_CLIENTS, self._root),
            )

    def _gateposts(self) -> Iterator[tuple[str, Callable[[], Subject]]]:
        if "sqlite" in self._plan.databases:
            yield GATEPOST_SQLITE, lambda: self._stack.enter_context(self._gatepost(GATEPOST_SQLITE, "sqlite", None))
        if self._cluster is not None:
            url = self._cluster.create_database()
            yield GATEPOST_POSTGRES, lambda: self._stack.enter_context(self._gatepost(GATEPOST_POSTGRES, "pg", url))

    @contextmanager
    def _gatepost(self, name: str, folder: str, url: str | None) -> Iterator[Gatepost]:
        directory, workers = self._directory / folder, self._plan.workers
        with start_server(directory, workers=workers, database_url=url, settings=SETTINGS) as server:
            yield Gatepost(name, server, workers, self._root if url else None)

    def _peers(self) -> Iterator[tuple[str, Callable[[], Subject]]]:
        for peer in self._plan.peers:
            running, stores = PEERS[peer]
            for store in stores:
                if store == "PostgreSQL" and self._cluster is None:
                    continue
                name = f"{peer}, {store}"
                url = self._cluster.create_database() if self._cluster and store == "PostgreSQL" else None
                log = self._directory / f"{name.replace(', ', '-')}.log"
                root = self._root if url else None
                yield (
                    name,
                    lambda run=running, n=name, u=url, r=root, log=log: self._stack.enter_context(  # type: ignore[misc]
                        run(n, u, self._plan.workers, r, log)
                    ),
                )


def postmaster(cluster: PostgresCluster) -> int:
    """The process whose children PostgreSQL's work is done in."""
    lines = (cluster.directory / "data" / "postmaster.pid").read_text(encoding="ascii").splitlines()
    return int(lines[0])


def _endure(subject: Gatepost, plan: Plan) -> list[int]:
    """Sends so many requests; the memory before and after each tenth."""
    limits = replace(plan.limits, seconds=600.0, requests=max(1, plan.endurance // 10 // len(CHEAP)))
    # People sign in now and then: hashing takes the most memory at once.
    subject.measure(LOGIN, replace(plan.limits, seconds=1.0))
    time.sleep(IDLE_SECONDS)
    found = [subject.pss_bytes() or 0]
    for tenth in range(1, 11):
        for operation in CHEAP:
            subject.measure(operation, limits)
        subject.measure(LOGIN, replace(plan.limits, seconds=0.2))
        time.sleep(IDLE_SECONDS)
        found.append(subject.pss_bytes() or 0)
        say(f"endurance {tenth * 10:3} %  {subject.name:28} {found[-1] / 1e6:6.0f} MB")
    return found
