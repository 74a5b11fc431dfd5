"""The run: everything is started once, and then each round measures every cell in an order of its own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bench.floors.subjects import POSTGRES_CLIENTS, RAW_POSTGRES, RAW_SQLITE, RawRotation, floor_server
from bench.gatepost import SETTINGS, Gatepost
from bench.load import Limits, LoadFailed
from bench.peers import django_toolkit, oidc_provider
from bench.subject import BESIDE_LOGINS, CODE_EXCHANGE, LOGIN, Sample, Subject
from tests.support.components import postgres_tool
from tests.support.servers import PostgresCluster, ServerFailed, postgres_cluster, start_server

GATEPOST_SQLITE, GATEPOST_POSTGRES = "Gatepost, SQLite", "Gatepost, PostgreSQL"


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
    #: Requests of all kinds that memory is watched over, after the rounds; 0 for none.
    endurance: int = 0


@dataclass
class Results:
    """What came of it."""

    samples: list[Sample] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)
    #: The highest memory of each subject, in bytes, at the ends of the rounds.
    pss: dict[str, int] = field(default_factory=dict)
    #: What could not be measured, and why.
    absent: dict[str, str] = field(default_factory=dict)
    #: Memory of Gatepost after each tenth of the endurance run, in bytes.
    growth: dict[str, list[int]] = field(default_factory=dict)
    postgres: str = ""
    #: Of the machine, over one minute.
    load_before: float = 0.0
    load_after: float = 0.0


def say(text: str) -> None:
    """Progress, beside the report."""
    print(text, file=sys.stderr, flush=True)


def run(plan: Plan, directory: Path) -> Results:
    """Measures everything that the plan names, in `directory`."""
    results = Results(load_before=os.getloadavg()[0])
    with ExitStack() as stack:
        subjects = _start_all(plan, directory, stack, results)
        results.about = {subject.name: subject.about() for subject in subjects}
        # Not a secret: only the order of the cells.
        order = random.Random(plan.seed)
        for number in range(1, plan.rounds + 1):
            _run_round(number, subjects, plan, order, results)
        for subject in subjects:
            if plan.endurance and isinstance(subject, Gatepost):
                results.growth[subject.name] = _endure(subject, plan)
    results.load_after = os.getloadavg()[0]
    return results


def _run_round(number: int, subjects: Sequence[Subject], plan: Plan, order: random.Random, results: Results) -> None:
    cells = [
        (subject, operation) for subject in subjects for operation in subject.operations if _wanted(operation, plan)
    ]
    order.shuffle(cells)
    for subject, operation in cells:
        try:
            sample = subject.measure(operation, plan.limits).in_round(number)
        except (LoadFailed, OSError) as error:
            results.absent[f"{subject.name}: {operation}"] = str(error).partition("\n")[0]
            say(f"round {number}  {subject.name:28} {operation:26} failed: {error}")
            continue
        results.samples.append(sample)
        say(
            f"round {number}  {subject.name:28} {operation:26} {sample.cpu_us:9,.0f} µs {sample.rate:9,.0f}/s"
            + (f"  {sample.failures} wrong: {sample.complaint}" if sample.failures else "")
        )
    for subject in subjects:
        memory = subject.pss_bytes()
        if memory is not None:
            results.pss[subject.name] = max(memory, results.pss.get(subject.name, 0))


def _endure(subject: Gatepost, plan: Plan) -> list[int]:
    """Sends so many requests, of all kinds in turn; the memory after each tenth."""
    kinds = [operation for operation in subject.operations if operation not in {LOGIN, BESIDE_LOGINS}]
    limits = replace(plan.limits, seconds=3600.0, requests=max(1, plan.endurance // 10 // len(kinds)))
    # Codes live for a minute, so they come in smaller numbers; people sign in now and then.
    few = replace(plan.limits, seconds=3.0)
    found = []
    for tenth in range(1, 11):
        for operation in kinds:
            subject.measure(operation, few if operation == CODE_EXCHANGE else limits)
        subject.measure(LOGIN, few)
        found.append(subject.pss_bytes() or 0)
        say(f"endurance {tenth * 10:3} %  {subject.name:28} {found[-1] / 1e6:6.0f} MB")
    return found


def _wanted(operation: str, plan: Plan) -> bool:
    # Floors are always there: nothing is measured without them.
    return (
        not plan.only
        or " only" in operation
        or operation == "constant body"
        or any(word in operation for word in plan.only)
    )


def _start_all(plan: Plan, directory: Path, stack: ExitStack, results: Results) -> list[Subject]:
    cluster = _cluster(plan, stack, results)
    database_root = _postmaster(cluster) if cluster else None
    starters: list[tuple[str, Callable[[], Subject]]] = [
        ("floor: WSGI", lambda: stack.enter_context(floor_server(plan.workers, directory / "floor.log")))
    ]
    if "sqlite" in plan.databases:
        starters += [
            (RAW_SQLITE, lambda: RawRotation(RAW_SQLITE, str(directory / "floor.sqlite"), 1, None)),
            (GATEPOST_SQLITE, lambda: stack.enter_context(_gatepost(GATEPOST_SQLITE, plan, directory / "sqlite"))),
        ]
    if cluster is not None:
        starters += [
            (
                RAW_POSTGRES,
                lambda: RawRotation(RAW_POSTGRES, cluster.create_database(), POSTGRES_CLIENTS, database_root),
            ),
            (
                GATEPOST_POSTGRES,
                lambda: stack.enter_context(_gatepost(GATEPOST_POSTGRES, plan, directory / "postgres", cluster)),
            ),
        ]
    starters += _peers(plan, directory, stack, cluster)
    subjects = []
    for name, start in starters:
        say(f"starting {name}")
        try:
            subjects.append(start())
        except (LoadFailed, ServerFailed, FileNotFoundError) as error:
            results.absent[name] = str(error)
            say(f"  left out: {error}")
    return subjects


def _peers(
    plan: Plan, directory: Path, stack: ExitStack, cluster: PostgresCluster | None
) -> Iterator[tuple[str, Callable[[], Subject]]]:
    root = _postmaster(cluster) if cluster else None
    databases: list[tuple[str, str | None, int | None]] = [("", None, None)]
    if cluster is not None:
        databases.append((", PostgreSQL", cluster.create_database(), root))
    makers = {"oidc-provider": oidc_provider.running, "django-oauth-toolkit": django_toolkit.running}
    for peer in plan.peers:
        for label, url, database_root in databases:
            start, name = makers[peer], f"{peer}{label}"
            log = directory / f"{name.replace(', ', '-')}.log"
            yield (
                name,
                lambda s=start, n=name, u=url, r=database_root, log=log: stack.enter_context(  # type: ignore[misc]
                    s(n, u, plan.workers, r, log)
                ),
            )


@contextmanager
def _gatepost(name: str, plan: Plan, directory: Path, cluster: PostgresCluster | None = None) -> Iterator[Gatepost]:
    url = cluster.create_database() if cluster else None
    with start_server(directory, workers=plan.workers, database_url=url, settings=SETTINGS) as server:
        yield Gatepost(name, server, plan.workers, _postmaster(cluster) if cluster else None)


def _cluster(plan: Plan, stack: ExitStack, results: Results) -> PostgresCluster | None:
    if "postgres" not in plan.databases:
        return None
    try:
        postgres = [str(postgres_tool("postgres")), "--version"]
        results.postgres = subprocess.run(postgres, capture_output=True, text=True, check=True).stdout.strip()
        return stack.enter_context(postgres_cluster())
    except pytest.skip.Exception as reason:
        results.absent["PostgreSQL"] = str(reason)
        return None


def _postmaster(cluster: PostgresCluster) -> int:
    lines = (cluster.directory / "data" / "postmaster.pid").read_text(encoding="ascii").splitlines()
    return int(lines[0])
