"""What the figures are held to: mostly ratios of two cells of the same round, so that the machine cancels out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from bench.campaign import GATEPOST_POSTGRES, GATEPOST_SQLITE
from bench.floors.subjects import CONSTANT, HASH, RAW_POSTGRES, ROTATION, SERVER, SIGN, VERIFY
from bench.journal import Results
from bench.subject import (
    BESIDE_LOGINS,
    CLIENT_CREDENTIALS,
    CLIENT_CREDENTIALS_ES256,
    CODE_EXCHANGE,
    DISCOVERY,
    INTROSPECTION,
    JWKS,
    KEY_VERIFICATION,
    LOGIN,
    REFRESH,
    REFRESH_ES256,
    REFRESH_WITH_ID_TOKEN,
    USERINFO,
    Sample,
)

Cell = tuple[str, str]

MUST, AIM = "must", "aim"
MEMORY_MB = 175
GROWTH = 1.05
SQLITE_REFRESH_P99_MS = 60
OIDC, OIDC_POSTGRES = "oidc-provider, memory", "oidc-provider, PostgreSQL"
DOT, DOT_POSTGRES = "django-oauth-toolkit, SQLite", "django-oauth-toolkit, PostgreSQL"
CANAILLE = "canaille, PostgreSQL"
BOTH, SQLITE, POSTGRES = (GATEPOST_SQLITE, GATEPOST_POSTGRES), (GATEPOST_SQLITE,), (GATEPOST_POSTGRES,)
CPU, DATABASE, RATE, P99 = "cpu_us", "database_us", "rate", "p99_ms"
_NAMES = {CPU: "CPU", DATABASE: "PostgreSQL's CPU", RATE: "requests/s", P99: "p99"}


@dataclass(frozen=True)
class Target:
    """A figure of one cell, at most (or at least) `limit` times that of another."""

    kind: str
    cell: Cell
    floor: Cell
    limit: float
    #: How often the floor is meant: a code exchange makes two signatures.
    times: int = 1
    figure: str = CPU
    at_least: bool = False

    @property
    def text(self) -> str:
        """In words."""
        twice = f"{self.times} × " if self.times > 1 else ""
        operation = self.floor[1] if self.floor[0] == SERVER else f"{self.floor[1]}, {self.floor[0]}"
        same = self.floor[1] == self.cell[1]
        against = self.floor[0] if same else operation
        store = self.cell[0].partition(", ")[2]
        return f"{self.cell[1]}, {store}: {_NAMES[self.figure]} ÷ {twice}{against}"

    def holds(self, value: float) -> bool:
        """Whether this ratio is within it."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Verdict:
    """One line of the table of targets."""

    kind: str
    text: str
    values: tuple[float, ...]
    limit: str
    holds: bool
    unit: str = ""


def _targets(kind: str, operation: str, subjects: tuple[str, ...], *bounds: tuple[Cell, float]) -> Iterator[Target]:
    """CPU at most so many times that of each floor."""
    for subject in subjects:
        for floor, limit in bounds:
            yield Target(kind, (subject, operation), floor, limit)


_SIGN, _VERIFY, _CONSTANT = (SERVER, SIGN), (SERVER, VERIFY), (SERVER, CONSTANT)

TARGETS: tuple[Target, ...] = (
    *_targets(MUST, CLIENT_CREDENTIALS, BOTH, (_SIGN, 1.6), ((OIDC, CLIENT_CREDENTIALS), 0.75)),
    *_targets(MUST, CLIENT_CREDENTIALS_ES256, BOTH, (_SIGN, 0.3)),
    *(Target(MUST, (subject, CODE_EXCHANGE), _SIGN, 1.6, times=2) for subject in BOTH),
    *_targets(MUST, REFRESH, POSTGRES, (_SIGN, 2.0), ((OIDC_POSTGRES, REFRESH), 0.7)),
    Target(MUST, (GATEPOST_POSTGRES, REFRESH_WITH_ID_TOKEN), _SIGN, 2.0, times=2),
    *_targets(MUST, REFRESH_WITH_ID_TOKEN, POSTGRES, ((OIDC_POSTGRES, REFRESH_WITH_ID_TOKEN), 0.7)),
    *_targets(MUST, INTROSPECTION, POSTGRES, ((OIDC_POSTGRES, INTROSPECTION), 1.0)),
    # A key is proven by a row and a digest, a token by a row and a signature.
    *(Target(MUST, (subject, KEY_VERIFICATION), (subject, INTROSPECTION), 1.0) for subject in BOTH),
    *_targets(MUST, USERINFO, POSTGRES, ((OIDC_POSTGRES, USERINFO), 1.0)),
    *_targets(MUST, JWKS, BOTH, ((OIDC, JWKS), 1.0)),
    *_targets(MUST, DISCOVERY, BOTH, ((OIDC, DISCOVERY), 1.0)),
    *_targets(MUST, LOGIN, BOTH, ((SERVER, HASH), 1.1)),
    *(Target(MUST, (subject, BESIDE_LOGINS), (subject, CLIENT_CREDENTIALS), 2.0, figure=P99) for subject in BOTH),
    # T1 to T3
    *_targets(AIM, CLIENT_CREDENTIALS, BOTH, (_SIGN, 1.25), ((OIDC, CLIENT_CREDENTIALS), 0.6)),
    *(
        Target(AIM, (subject, CLIENT_CREDENTIALS), (peer, CLIENT_CREDENTIALS), limit, figure=figure, at_least=least)
        for subject, peer, limit, figure, least in (
            (GATEPOST_SQLITE, OIDC_POSTGRES, 1.8, RATE, True),
            (GATEPOST_POSTGRES, OIDC_POSTGRES, 1.8, RATE, True),
            (GATEPOST_SQLITE, DOT, 0.333, CPU, False),
            (GATEPOST_POSTGRES, DOT_POSTGRES, 0.333, CPU, False),
            (GATEPOST_POSTGRES, CANAILLE, 0.167, CPU, False),
        )
    ),
    # T4 to T6
    *_targets(AIM, CLIENT_CREDENTIALS_ES256, BOTH, (_SIGN, 0.2)),
    *_targets(AIM, REFRESH, POSTGRES, (_SIGN, 1.5), ((OIDC_POSTGRES, REFRESH), 0.55)),
    Target(AIM, (GATEPOST_POSTGRES, REFRESH), (RAW_POSTGRES, ROTATION), 2.0, figure=DATABASE),
    Target(AIM, (GATEPOST_POSTGRES, REFRESH_ES256), (RAW_POSTGRES, ROTATION), 0.3, figure=RATE, at_least=True),
    Target(AIM, (GATEPOST_POSTGRES, REFRESH), (RAW_POSTGRES, ROTATION), 0.13, figure=RATE, at_least=True),
    # T9 to T11
    *_targets(AIM, INTROSPECTION, SQLITE, (_VERIFY, 2.0), ((OIDC, INTROSPECTION), 0.5)),
    *_targets(AIM, INTROSPECTION, POSTGRES, (_VERIFY, 3.3), ((OIDC_POSTGRES, INTROSPECTION), 0.25)),
    *_targets(AIM, USERINFO, SQLITE, (_VERIFY, 1.8), ((OIDC, USERINFO), 0.5)),
    *_targets(AIM, USERINFO, POSTGRES, (_VERIFY, 2.6), ((OIDC_POSTGRES, USERINFO), 0.4)),
    *_targets(AIM, JWKS, BOTH, (_CONSTANT, 1.3), ((OIDC, JWKS), 0.4)),
    *_targets(AIM, DISCOVERY, BOTH, (_CONSTANT, 1.3), ((OIDC, DISCOVERY), 0.4)),
    # T14
    *(Target(AIM, (subject, CODE_EXCHANGE), _SIGN, 1.25, times=2) for subject in BOTH),
)


def ratios(samples: Sequence[Sample], cell: Cell, floor: Cell, figure: str = CPU) -> list[float]:
    """A figure of `cell` over that of `floor`, one ratio for each round that has both."""
    found: dict[int, dict[Cell, float]] = {}
    for sample in samples:
        value = getattr(sample, figure)
        if value is not None:
            found.setdefault(sample.round, {})[(sample.subject, sample.operation)] = value
    return [cells[cell] / cells[floor] for cells in found.values() if cell in cells and cells.get(floor, 0.0) > 0]


def judged(results: Results) -> list[Verdict]:
    """Each target that could be measured, the musts first."""
    verdicts = [*_judged_ratios(results.samples), *_judged_tails(results.samples), *_judged_memory(results)]
    return sorted(verdicts, key=lambda verdict: verdict.kind != MUST)


def _judged_ratios(samples: Sequence[Sample]) -> Iterator[Verdict]:
    for target in TARGETS:
        values = [value / target.times for value in ratios(samples, target.cell, target.floor, target.figure)]
        if values:
            sign = "≥" if target.at_least else "≤"
            limit = f"{sign} {target.limit:g}"
            yield Verdict(target.kind, target.text, tuple(values), limit, target.holds(median(values)))


def _judged_tails(samples: Sequence[Sample]) -> Iterator[Verdict]:
    for operation in (REFRESH, REFRESH_WITH_ID_TOKEN):
        found = [sample for sample in samples if (sample.subject, sample.operation) == (GATEPOST_SQLITE, operation)]
        if found:
            tails = tuple(sample.p99_ms for sample in found)
            text, holds = f"{operation}, SQLite FULL: p99", median(tails) <= SQLITE_REFRESH_P99_MS
            yield Verdict(MUST, text, tails, f"≤ {SQLITE_REFRESH_P99_MS}", holds, "ms")
            errors = tuple(float(sample.server_errors) for sample in found)
            yield Verdict(MUST, f"{operation}, SQLite FULL: answers of 500 and above", errors, "0", not any(errors))


def _judged_memory(results: Results) -> Iterator[Verdict]:
    for name, (aim, limit) in {GATEPOST_SQLITE: (160, MEMORY_MB), GATEPOST_POSTGRES: (175, MEMORY_MB)}.items():
        if name in results.pss:
            size = results.pss[name] / 1e6
            for kind, most in ((MUST, limit), (AIM, aim)):
                yield Verdict(kind, f"{name}: memory", (size,), f"≤ {most}", size <= most, "MB")
        sizes = results.growth.get(name)
        if sizes:
            grown = sizes[-1] / sizes[0]
            yield Verdict(MUST, f"{name}: memory after ÷ before", (grown,), f"≤ {GROWTH}", grown <= GROWTH)
