"""The report: medians and spread, ratios to the floors of the same round, versions and the command."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from cryptography.hazmat.backends.openssl import backend

from bench import interpreter, processors
from bench.campaign import GATEPOST_POSTGRES, GATEPOST_SQLITE, Plan
from bench.floors.subjects import CONSTANT, HASH, RAW_POSTGRES, RAW_SQLITE, ROTATION, SERVER, SIGN, VERIFY
from bench.journal import Results
from bench.subject import (
    BESIDE_LOGINS,
    CLIENT_CREDENTIALS,
    CLIENT_CREDENTIALS_ES256,
    CODE_EXCHANGE,
    DISCOVERY,
    INTROSPECTION,
    JWKS,
    KEY_INTROSPECTION,
    KEY_VERIFICATION,
    LIMITED_VERIFICATION,
    LOGIN,
    MISTYPED_VERIFICATION,
    OPERATIONS,
    REFRESH,
    REFRESH_ES256,
    REFRESH_WITH_ID_TOKEN,
    USERINFO,
    Sample,
)
from bench.targets import Verdict, judged, ratios

FLOOR_OF = {
    CLIENT_CREDENTIALS: SIGN,
    CLIENT_CREDENTIALS_ES256: SIGN,
    CODE_EXCHANGE: SIGN,
    REFRESH: SIGN,
    REFRESH_ES256: SIGN,
    REFRESH_WITH_ID_TOKEN: SIGN,
    INTROSPECTION: VERIFY,
    KEY_INTROSPECTION: CONSTANT,
    KEY_VERIFICATION: CONSTANT,
    LIMITED_VERIFICATION: CONSTANT,
    MISTYPED_VERIFICATION: CONSTANT,
    USERINFO: VERIFY,
    JWKS: CONSTANT,
    DISCOVERY: CONSTANT,
    LOGIN: HASH,
    BESIDE_LOGINS: SIGN,
}
NOTES = {
    CODE_EXCHANGE: "An access token and an ID token: two signatures where both are signed.",
    REFRESH: "Rotating, without `openid`: one access token and a new refresh token.",
    REFRESH_ES256: "The same, the access token signed with ES256; the ratio is to an RSA signature.",
    REFRESH_WITH_ID_TOKEN: "Rotating, with `openid`: an access token, an ID token and a new refresh token.",
    INTROSPECTION: "A resource server asks about a person's token that another client holds.",
    KEY_INTROSPECTION: "The same resource server asks about an API key: one SELECT, no signature.",
    KEY_VERIFICATION: "A gateway asks `/v1/verify`, with a scope and an environment: one SELECT; all use one key.",
    LIMITED_VERIFICATION: "The same for a key with a limit, whose every use is counted in the database.",
    MISTYPED_VERIFICATION: "The checksum is wrong: 401, and no database is asked.",
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
REQUESTS, GROWTH = 0, 1
"""The chapters of the page, each written by a command of its own."""

_BETWEEN = "<!-- What follows was written by another run. -->"
_OURS = (GATEPOST_SQLITE, GATEPOST_POSTGRES)
_FLOORS = (SERVER, RAW_POSTGRES, RAW_SQLITE)


def render(results: Results, plan: Plan, command: str) -> str:
    """The whole report in Markdown."""
    parts = [
        "# Performance",
        f"Every figure on this page is from one run of\n\n    {command}",
        _how_to_read(plan),
        "## Targets",
        _what_a_signature_weighs(results),
        "The median of the rounds decides; in brackets the lowest and the highest round.",
        _targets(results),
        "## Where another server is ahead",
        _ahead(results),
        "## Machine and versions",
        machine(results.load_before, results.load_after, results.postgres, results.about),
        "## Floors",
        "What no server goes below on this machine: one library call behind a bare server, and the databases' drivers.",
        _table(results.samples, [SIGN, VERIFY, CONSTANT, HASH, ROTATION], None),
    ]
    for operation in OPERATIONS:
        if any(sample.operation == operation for sample in results.samples):
            parts.append(f"## {operation[0].upper()}{operation[1:]}")
            parts += [NOTES[operation]] if operation in NOTES else []
            parts.append(_table(results.samples, [operation], FLOOR_OF[operation]))
    parts += ["## Memory", _memory(results)]
    if results.absent:
        parts += ["## Left out", "\n".join(f"* {name}: {_one_line(why)}" for name, why in results.absent.items())]
    return "\n\n".join(parts) + "\n"


def command(module: str, given: Sequence[str]) -> str:
    """The command line without the options that change no figure."""
    kept, skip = [], False
    for word in given:
        is_place = word.startswith("--output")
        if not skip and not is_place and word != "--resume":
            kept.append(word)
        skip = is_place and "=" not in word
    return shlex.join(["python", "-m", module, *kept])


def write(text: str, page: Path | None, *, chapter: int) -> None:
    """Prints a chapter, or puts it in its place on the page, whose other chapter stays."""
    if page is None:
        print(text)
        return
    written = page.read_text(encoding="utf-8") if page.exists() else ""
    first, _, second = (part.strip() for part in written.partition(_BETWEEN))
    chapters = [first, second]
    chapters[chapter] = text.strip()
    page.write_text(f"\n\n{_BETWEEN}\n\n".join(chapters).strip() + "\n", encoding="utf-8")


def _how_to_read(plan: Plan) -> str:
    return (
        "CPU is user and system time of the server's whole process tree per answered request, ended children included; "
        "PostgreSQL's own stands beside it. The load generator runs on the same cores, so requests per second are what "
        f"the machine does with both on it, over {plan.limits.connections} keep-alive connections. "
        f"{plan.rounds} round{'s' if plan.rounds > 1 else ''} of {plan.limits.seconds:g} s per cell, in random order; "
        "medians, with the lowest and the highest round in brackets. Ratios divide by the floor of the same round. "
        "Compare within this page, not with other machines or other days."
    )


def _what_a_signature_weighs(results: Results) -> str:
    found = [sample.cpu_us for sample in results.samples if (sample.subject, sample.operation) == (SERVER, SIGN)]
    here = f"takes {median(found):,.0f} µs here" if found else "was not measured here"
    return (
        f"Most targets are ratios to `sign only`, one RSA-2048 signature behind a bare server. It {here}; on the "
        "processor that the targets were set on it took 1,015 to 1,181. Where OpenSSL finds AVX-512 IFMA it takes "
        "less than half, while all else takes what it took, so the same server misses more there. Both are measured: "
        "[with what this machine's processor has](performance.md), and [with IFMA hidden from OpenSSL]"
        "(performance-without-ifma.md) in every server alike, as on processors of AMD before Zen 4, Intel before Ice "
        "Lake, and those of the targets."
    )


def machine(before: float, after: float, postgres: str, about: Mapping[str, str]) -> str:
    """What it was measured on, and with."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"* {os.cpu_count()} × {processors.describe()}, {memory:.0f} GiB, Linux {platform.release()}",
        f"* Load before and after (one minute): {before:.2f} and {after:.2f}",
        f"* {interpreter.describe()}, {backend.openssl_version_text()}, "
        + ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    ]
    if postgres:
        lines.append(f"* {postgres}, fsync on")
    return "\n".join([*lines, *(f"* {name}: {text}" for name, text in about.items())])


def _table(samples: Sequence[Sample], operations: Sequence[str], floor: str | None) -> str:
    named = floor is None
    more = [] if named else [f"× {floor}", "what it answers"]
    head = ["", "CPU µs", "PostgreSQL µs", "requests/s", "p50 ms", "p99 ms", *more]
    rows = [head, ["---", *["---:"] * (5 if named else 6), *([] if named else ["---"])]]
    cells: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        if sample.operation in operations:
            cells.setdefault((sample.subject, sample.operation), []).append(sample)
    order = {operation: number for number, operation in enumerate(operations)}
    for (subject, operation), found in sorted(
        cells.items(), key=lambda item: (order[item[0][1]], _median_cpu(item[1]))
    ):
        label = f"{operation} ({subject.removeprefix('floor: ')})" if named else subject
        row = [label, spread([sample.cpu_us for sample in found]), _database(found), *_rates(found)]
        if floor is not None:
            values = ratios(samples, (subject, operation), (SERVER, floor))
            row += [f"{median(values):.2f}" if values else "", found[-1].shape]
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


def spread(values: Sequence[float]) -> str:
    """The median, and the lowest and highest when there are several."""
    middle = f"{median(values):,.0f}"
    return f"{middle} [{min(values):,.0f}–{max(values):,.0f}]" if len(values) > 1 else middle


def _memory(results: Results) -> str:
    how = (
        "PSS of all processes, PostgreSQL's left out: at the end of a round after three idle seconds, and right after "
        "the password logins of a round, each of which takes the memory of a hash. The highest of the run."
    )
    lines = [how, ""]
    rows = sorted(results.pss.items(), key=lambda item: item[1])
    lines += ["| | MB |", "|---|---:|", *(f"| {name} | {size / 1e6:.0f} |" for name, size in rows)]
    for name, sizes in results.growth.items():
        grown = ", ".join(f"{size / 1e6:.0f}" for size in sizes)
        lines += ["", f"{name}, in MB before the endurance run and after each tenth of it: {grown}."]
    return "\n".join(lines)


def _targets(results: Results) -> str:
    rows = ["| | | measured | wanted | |", "|---|---|---:|---:|---|"]
    for verdict in judged(results):
        cells = (
            verdict.kind,
            verdict.text,
            _measured(verdict),
            verdict.limit,
            "met" if verdict.holds else "**missed**",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _measured(verdict: Verdict) -> str:
    places, unit = (0, f" {verdict.unit}") if verdict.unit or verdict.limit == "0" else (2, "")
    middle = f"{median(verdict.values):.{places}f}"
    several = f" [{min(verdict.values):.{places}f}–{max(verdict.values):.{places}f}]" if len(verdict.values) > 1 else ""
    return f"{middle}{several}{unit}".rstrip()


def _ahead(results: Results) -> str:
    """Where a peer does better than Gatepost, by how much, and what is different about its work."""
    lines = []
    for operation in OPERATIONS:
        found: dict[str, list[Sample]] = {}
        for sample in results.samples:
            if sample.operation == operation:
                found.setdefault(sample.subject, []).append(sample)
        for ours in (name for name in _OURS if name in found):
            for peer in sorted(set(found) - set(_OURS) - set(_FLOORS)):
                better = _better(found[peer], found[ours])
                if better:
                    reason = results.differs.get(peer, {}).get(operation) or "the work is alike"
                    lines.append(f"* {operation}: {peer} before {ours} with {' and '.join(better)}; {reason}.")
    for ours in (name for name in _OURS if name in results.pss):
        for peer, size in sorted(results.pss.items(), key=lambda item: item[1]):
            if size < results.pss[ours] and not peer.startswith(("floor", "Gatepost")):
                sizes = f"{size / 1e6:.0f} instead of {results.pss[ours] / 1e6:.0f} MB"
                lines.append(f"* memory: {peer} before {ours} with {sizes}; {results.about.get(peer, '')}.")
    return "\n".join(lines) or "Nowhere."


def _better(theirs: Sequence[Sample], ours: Sequence[Sample]) -> list[str]:
    """The figures in which the one cell is ahead of the other."""
    better = []
    if _median_cpu(theirs) < _median_cpu(ours):
        better.append(f"{_median_cpu(theirs):,.0f} instead of {_median_cpu(ours):,.0f} CPU µs")
    rates = [median(sample.rate for sample in samples) for samples in (theirs, ours)]
    if rates[0] > rates[1]:
        better.append(f"{rates[0]:,.0f} instead of {rates[1]:,.0f} requests/s")
    return better


def _one_line(text: str) -> str:
    return " ".join(text.split())[:600]
