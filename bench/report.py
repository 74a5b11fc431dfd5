"""The report: medians and spread, ratios to the floors of the same round, versions and the command."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from cryptography.hazmat.backends.openssl import backend

from bench.campaign import GATEPOST_POSTGRES, GATEPOST_SQLITE, Plan, Results
from bench.floors.subjects import CONSTANT, HASH, ROTATION, SERVER, SIGN, VERIFY
from bench.subject import (
    BESIDE_LOGINS,
    CLIENT_CREDENTIALS,
    CLIENT_CREDENTIALS_ES256,
    CODE_EXCHANGE,
    DISCOVERY,
    INTROSPECTION,
    JWKS,
    LOGIN,
    OPERATIONS,
    REFRESH,
    USERINFO,
    Sample,
)
from bench.targets import MEMORY_MB, SQLITE_REFRESH_P99_MS, judged, ratios

FLOOR_OF = {
    CLIENT_CREDENTIALS: SIGN,
    CLIENT_CREDENTIALS_ES256: SIGN,
    CODE_EXCHANGE: SIGN,
    REFRESH: SIGN,
    INTROSPECTION: VERIFY,
    USERINFO: VERIFY,
    JWKS: CONSTANT,
    DISCOVERY: CONSTANT,
    LOGIN: HASH,
    BESIDE_LOGINS: SIGN,
}
NOTES = {
    CODE_EXCHANGE: "Two signatures, the access token's and the ID token's; django-oauth-toolkit makes the second only.",
    REFRESH: "Rotating: a new refresh token each time, and the tokens of the code exchange anew.",
    INTROSPECTION: "Of a person's token: Gatepost's are JWTs, verified and looked up; the peers' are opaque rows.",
    LOGIN: "The POST alone, from a browser of its own each.",
    BESIDE_LOGINS: "Twenty people a second sign in meanwhile; their CPU is in the figure, and p99 is what it is about.",
}
_PACKAGES = (
    "flask",
    "werkzeug",
    "authlib",
    "joserfc",
    "sqlalchemy",
    "psycopg",
    "cryptography",
    "granian",
    "argon2-cffi",
)


def render(results: Results, plan: Plan, command: str) -> str:
    """The whole report in Markdown."""
    parts = [
        "# Performance",
        f"Every figure on this page is from one run of\n\n    {command}",
        _how_to_read(plan),
        "## Machine and versions",
        _machine(results),
        "## Floors",
        "What no server goes below on this machine: one library call behind a bare server, and the databases' drivers.",
        _table(results.samples, [SIGN, VERIFY, CONSTANT, HASH, ROTATION], None),
    ]
    for operation in OPERATIONS:
        if any(sample.operation == operation for sample in results.samples):
            parts.append(f"## {operation[0].upper()}{operation[1:]}")
            parts += [NOTES[operation]] if operation in NOTES else []
            parts.append(_table(results.samples, [operation], FLOOR_OF[operation]))
    parts += ["## Memory", _memory(results), "## Targets", _targets(results)]
    if results.absent:
        parts += ["## Left out", "\n".join(f"* {name}: {_one_line(why)}" for name, why in results.absent.items())]
    return "\n\n".join(parts) + "\n"


def _how_to_read(plan: Plan) -> str:
    return (
        "CPU is user and system time of the server's whole process tree per answered request, ended children included; "
        "PostgreSQL's own stands beside it. The load generator runs on the same cores, so requests per second are what "
        f"the machine does with both on it, over {plan.limits.connections} keep-alive connections. "
        f"{plan.rounds} round{'s' if plan.rounds > 1 else ''} of {plan.limits.seconds:g} s per cell, in random order; "
        "medians, with the lowest and the highest round in brackets. Ratios divide by the floor of the same round. "
        "Compare within this page, not with other machines or other days."
    )


def _machine(results: Results) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"* {os.cpu_count()} × {_processor()}, {memory:.0f} GiB, Linux {platform.release()}",
        f"* Load before and after (one minute): {results.load_before:.2f} and {results.load_after:.2f}",
        f"* Python {platform.python_version()}, {backend.openssl_version_text()}, "
        + ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    ]
    if results.postgres:
        lines.append(f"* {results.postgres}")
    return "\n".join([*lines, *(f"* {name}: {text}" for name, text in results.about.items())])


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _table(samples: Sequence[Sample], operations: Sequence[str], floor: str | None) -> str:
    named = floor is None
    head = ["", "CPU µs", "PostgreSQL µs", "requests/s", "p50 ms", "p99 ms", *([] if named else [f"× {floor}"])]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    cells: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        if sample.operation in operations:
            cells.setdefault((sample.subject, sample.operation), []).append(sample)
    order = {operation: number for number, operation in enumerate(operations)}
    for (subject, operation), found in sorted(
        cells.items(), key=lambda item: (order[item[0][1]], _median_cpu(item[1]))
    ):
        label = f"{operation} ({subject.removeprefix('floor: ')})" if named else subject
        row = [label, _spread([sample.cpu_us for sample in found]), _database(found), *_rates(found)]
        if floor is not None:
            values = ratios(samples, (subject, operation), (SERVER, floor))
            row.append(f"{median(values):.2f}" if values else "")
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _median_cpu(samples: Sequence[Sample]) -> float:
    return median(sample.cpu_us for sample in samples)


def _database(samples: Sequence[Sample]) -> str:
    values = [sample.database_us for sample in samples if sample.database_us is not None]
    return f"{median(values):,.0f}" if values else ""


def _rates(samples: Sequence[Sample]) -> list[str]:
    rate = median(sample.rate for sample in samples)
    p50, p99 = median(sample.p50_ms for sample in samples), median(sample.p99_ms for sample in samples)
    wrong = sum(sample.failures for sample in samples)
    return [f"{rate:,.0f}", f"{p50:.1f}", f"{p99:.1f}" + (f" ({wrong} wrong answers)" if wrong else "")]


def _spread(values: Sequence[float]) -> str:
    middle = f"{median(values):,.0f}"
    return f"{middle} [{min(values):,.0f}–{max(values):,.0f}]" if len(values) > 1 else middle


def _memory(results: Results) -> str:
    lines = ["PSS of all processes at the end of a round, the highest of the run.", ""]
    rows = sorted(results.pss.items(), key=lambda item: item[1])
    lines += ["| | MB |", "|---|---:|", *(f"| {name} | {size / 1e6:.0f} |" for name, size in rows)]
    for name, sizes in results.growth.items():
        grown = ", ".join(f"{size / 1e6:.0f}" for size in sizes)
        lines += ["", f"{name}, in MB after each tenth of the endurance run: {grown}."]
    return "\n".join(lines)


def _targets(results: Results) -> str:
    rows = ["| CPU per request | measured | at most | |", "|---|---:|---:|---|"]
    for target, value, values in judged(results.samples):
        rows.append(f"| {target.text} | {_ratio(value, values)} | {target.limit} | {_verdict(value <= target.limit)} |")
    for subject in (GATEPOST_SQLITE, GATEPOST_POSTGRES):
        alone, beside = _tails(results, subject, CLIENT_CREDENTIALS), _tails(results, subject, BESIDE_LOGINS)
        if alone and beside:
            value = median(beside) / median(alone)
            what = f"client_credentials, {subject.partition(', ')[2]}: p99 beside 20 logins/s ÷ p99 alone"
            rows.append(f"| {what} | {value:.2f} | 2.0 | {_verdict(value <= 2)} |")
    tails = _tails(results, GATEPOST_SQLITE, REFRESH)
    if tails:
        tail = median(tails)
        verdict = _verdict(tail <= SQLITE_REFRESH_P99_MS)
        rows.append(f"| refresh, SQLite: p99 in ms | {tail:.0f} | {SQLITE_REFRESH_P99_MS} | {verdict} |")
    for name, size in results.pss.items():
        if name.startswith("Gatepost"):
            rows.append(f"| {name}: PSS in MB | {size / 1e6:.0f} | {MEMORY_MB} | {_verdict(size <= MEMORY_MB * 1e6)} |")
    return "\n".join(rows)


def _tails(results: Results, subject: str, operation: str) -> list[float]:
    return [sample.p99_ms for sample in results.samples if (sample.subject, sample.operation) == (subject, operation)]


def _ratio(value: float, values: Sequence[float]) -> str:
    return f"{value:.2f} [{min(values):.2f}–{max(values):.2f}]" if len(values) > 1 else f"{value:.2f}"


def _verdict(holds: bool) -> str:
    return "holds" if holds else "**missed**"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
