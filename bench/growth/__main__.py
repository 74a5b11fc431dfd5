"""Measures what a request costs with 1,000 rows and with many more, on PostgreSQL, and writes a report in Markdown.

So many rows each of clients, their secrets, users, grants and refresh tokens, in databases of one cluster that are
measured in turn. `of 1,000` asks about a thousand of them (and the five hundred clients these belong to), drawn at
random from all, again and again: the same working set at every size. `of all` draws from all of them each time, so
that hardly any row was read before; with 1,000 rows both are the same, and every client is in the processes' cache.
The access tokens of introspection and userinfo come from a thousand refreshes beforehand.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psycopg

from bench import report
from bench.campaign import postmaster, say
from bench.gatepost import SETTINGS
from bench.growth import loading
from bench.growth.subject import OPERATIONS, Grown, make_originals
from bench.load import Limits, LoadFailed
from bench.subject import Sample
from bench.targets import ratios
from tests.support.components import postgres_tool
from tests.support.servers import PostgresCluster, free_port, postgres_cluster, prepare, running

SIZES = (1_000, 100_000, 10_000_000)
LIMIT = 1.3


@dataclass
class Findings:
    """What came of it."""

    samples: list[Sample] = field(default_factory=list)
    machine: str = ""
    absent: dict[str, str] = field(default_factory=dict)


@contextmanager
def _grown(cluster: PostgresCluster, rows: int, folder: Path, workers: int) -> Iterator[Grown]:
    server = prepare(folder, port=free_port(), database_url=cluster.create_database(), settings=SETTINGS)
    server.run("keyring", "create")
    server.run("db", "upgrade")
    command = ("serve", "--workers", str(workers))
    with running(server, *command):
        secret = make_originals(server)
    began = time.monotonic()
    loading.fill(server.environment["GATEPOST_DATABASE_URL"], rows)
    say(f"{rows:,} rows in {time.monotonic() - began:.0f} s")
    with running(server, *command):
        yield Grown(server, rows, postmaster(cluster), secret)


def _prepare_cluster(cluster: PostgresCluster) -> None:
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as database:
        # Loading in one go; no checkpoint comes between measurements.
        database.execute("ALTER SYSTEM SET max_wal_size = '16GB'")
        database.execute("ALTER SYSTEM SET checkpoint_timeout = '1h'")
        database.execute("SELECT pg_reload_conf()")


def _measure(subjects: Sequence[Grown], rounds: int, limits: Limits, seed: int, found: Findings) -> None:
    # Not a secret: only the order of the cells.
    order = random.Random(seed)
    for number in range(1, rounds + 1):
        cells = [(subject, operation) for subject in subjects for operation in subject.operations]
        order.shuffle(cells)
        for done, (subject, operation) in enumerate(cells, start=1):
            label = f"round {number}  {done:3}/{len(cells)}  {subject.name:16} {operation:36}"
            try:
                sample = subject.measure(operation, limits).in_round(number)
            except LoadFailed as error:
                found.absent[f"{subject.name}: {operation}"] = str(error)
                say(f"{label} failed: {error}")
                continue
            found.samples.append(sample)
            wrong = f"  {sample.failures} wrong: {sample.complaint}" if sample.failures else ""
            database = sample.database_us or 0.0
            say(f"{label} {sample.cpu_us:8,.0f} + {database:6,.0f} µs  {sample.p50_ms:6.1f} ms{wrong}")


def render(found: Findings, sizes: Sequence[int], rounds: int, limits: Limits, command: str) -> str:
    """The chapter in Markdown."""
    names = [f"{rows:,} rows" for rows in sizes]
    head = ["", *(f"{name}: CPU + PostgreSQL µs, p50 ms" for name in names), f"{names[-1]} ÷ {names[0]}", ""]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for operation in OPERATIONS:
        cells = [_cell(found.samples, name, operation) for name in names]
        ratio = _ratio(found.samples, names[-1], names[0], operation)
        lines.append(f"| {operation} | {' | '.join(cells)} | {' | '.join(ratio)} |")
    how = (
        f"CPU per request of Gatepost and of PostgreSQL, medians of {rounds} rounds of {limits.seconds:g} s over "
        f"{limits.connections} connections, in random order; the ratio is that of both together, within a round. It is "
        f"to be {LIMIT:g} at most."
    )
    what = " ".join(line for line in (__doc__ or "").splitlines()[2:] if line)
    parts = ["# Growth", f"One run of\n\n    {command}", what, how, "\n".join(lines), found.machine]
    if found.absent:
        parts.append("\n".join(f"* {name} failed: {' '.join(why.split())[:300]}" for name, why in found.absent.items()))
    return "\n\n".join(parts) + "\n"


def _of(samples: Sequence[Sample], subject: str, operation: str) -> list[Sample]:
    return [sample for sample in samples if (sample.subject, sample.operation) == (subject, operation)]


def _cell(samples: Sequence[Sample], subject: str, operation: str) -> str:
    found = _of(samples, subject, operation)
    if not found:
        return ""
    database = median(sample.database_us or 0.0 for sample in found)
    p50 = median(sample.p50_ms for sample in found)
    wrong = sum(sample.failures for sample in found)
    text = f"{report.spread([sample.cpu_us for sample in found])} + {database:,.0f}, {p50:.1f}"
    return text + (f" ({wrong} wrong answers)" if wrong else "")


def _ratio(samples: Sequence[Sample], most: str, least: str, operation: str) -> tuple[str, str]:
    values = ratios(samples, (most, operation), (least, operation), "total_us")
    if not values:
        return "", ""
    middle = median(values)
    return f"{middle:.2f} [{min(values):.2f}–{max(values):.2f}]", "met" if middle <= LIMIT else "**missed**"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; 1 when something answered wrongly."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--size", type=int, action="append", help="rows, an even number; default: 10^3, 10^5 and 10^7")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="of load per cell and round (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="default: one a core")
    parser.add_argument("--seed", type=int, default=0, help="of the random order (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="the page whose last chapter this is; default: standard output")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sizes, limits, found = (
        tuple(options.size or SIZES),
        Limits(options.seconds, 50_000, options.connections),
        Findings(),
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatepost-growth-")))
        cluster = stack.enter_context(postgres_cluster())
        _prepare_cluster(cluster)
        subjects = [stack.enter_context(_grown(cluster, rows, folder / str(rows), options.workers)) for rows in sizes]
        before = os.getloadavg()[0]
        _measure(subjects, options.rounds, limits, options.seed, found)
        postgres = subprocess.run([postgres_tool("postgres"), "--version"], capture_output=True, text=True, check=True)
        sizes_on_disk = {subject.name: subject.about() for subject in subjects}
        found.machine = report.machine(before, os.getloadavg()[0], postgres.stdout.strip(), sizes_on_disk)
    command = report.command("bench.growth", sys.argv[1:] if arguments is None else arguments)
    report.write(render(found, sizes, options.rounds, limits, command), options.output, chapter=report.GROWTH)
    return 1 if found.absent or any(sample.failures for sample in found.samples) else 0


if __name__ == "__main__":
    sys.exit(main())
