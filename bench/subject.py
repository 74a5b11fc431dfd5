"""Something that is measured: a server, a floor or a peer, each with the operations it can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from bench import http, load, processes
from bench.http import Answer, Source
from bench.load import Limits

CLIENT_CREDENTIALS = "client_credentials RS256"
CLIENT_CREDENTIALS_ES256 = "client_credentials ES256"
CODE_EXCHANGE = "code exchange"
REFRESH = "refresh RS256"
REFRESH_ES256 = "refresh ES256"
REFRESH_WITH_ID_TOKEN = "refresh with ID token"
INTROSPECTION = "introspection"
KEY_INTROSPECTION = "introspection of a key"
KEY_VERIFICATION = "verification of a key"
LIMITED_VERIFICATION = "verification of a limited key"
MISTYPED_VERIFICATION = "verification of a mistyped key"
USERINFO = "userinfo"
JWKS = "JWKS"
DISCOVERY = "discovery"
LOGIN = "password login"
BESIDE_LOGINS = "client_credentials beside logins"

OPERATIONS = (
    CLIENT_CREDENTIALS,
    CLIENT_CREDENTIALS_ES256,
    CODE_EXCHANGE,
    REFRESH,
    REFRESH_ES256,
    REFRESH_WITH_ID_TOKEN,
    INTROSPECTION,
    KEY_INTROSPECTION,
    KEY_VERIFICATION,
    LIMITED_VERIFICATION,
    MISTYPED_VERIFICATION,
    USERINFO,
    JWKS,
    DISCOVERY,
    LOGIN,
    BESIDE_LOGINS,
)
"""In the order of the report."""

ON_TOKENS = (
    CLIENT_CREDENTIALS,
    CLIENT_CREDENTIALS_ES256,
    CODE_EXCHANGE,
    REFRESH,
    REFRESH_ES256,
    REFRESH_WITH_ID_TOKEN,
    INTROSPECTION,
    USERINFO,
)
"""What needs clients, tokens and signatures."""

#: What operations on tokens that are used once get prepared for one second of load.
PREPARED_PER_SECOND = {CODE_EXCHANGE: 500, LOGIN: 60}


def prepared(operation: str, limits: Limits) -> int:
    """How many single-use requests a cell gets within these limits."""
    return max(1, min(limits.requests, int(PREPARED_PER_SECOND[operation] * limits.seconds)))


@dataclass(frozen=True)
class Work:
    """The load of one operation, ready to be sent."""

    source: Source
    expected: int = 200
    #: Whether each request can be sent only once, so that none is left for warming up.
    is_single_use: bool = False


def each_once(requests: list[bytes], expected: int = 200) -> Work:
    """The load of requests that work once."""
    return Work(http.each_once(requests), expected, is_single_use=True)


@dataclass(frozen=True)
class Sample:
    """One operation of one subject in one round."""

    subject: str
    operation: str
    requests: int
    seconds: float
    cpu_us: float
    #: PostgreSQL's own, None where there is none.
    database_us: float | None
    p50_ms: float
    p99_ms: float
    failures: int = 0
    #: Of these, answers of 500 and above.
    server_errors: int = 0
    #: The first wrong answer, shortened.
    complaint: str = ""
    #: What a right answer held, such as `access_token RS256 at+jwt, 700 bytes`.
    shape: str = ""
    round: int = 0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def total_us(self) -> float:
        """The server's and PostgreSQL's CPU together."""
        return self.cpu_us + (self.database_us or 0.0)

    def in_round(self, number: int) -> Sample:
        """The same, with its round."""
        return replace(self, round=number)


class Subject(Protocol):
    """What a round asks of everything it measures."""

    name: str
    operations: tuple[str, ...]
    #: What is different about its work, by operation, for where its figure is lower than Gatepost's.
    differs: Mapping[str, str]

    def warm_up(self, limits: Limits) -> None:
        """Runs it in, once, before the rounds."""

    def measure(self, operation: str, limits: Limits) -> Sample:
        """Runs one operation within these limits."""

    def pss_bytes(self) -> int | None:
        """The memory of its processes now, None where that says nothing."""

    def about(self) -> str:
        """One line for the report: versions, processes, what differs from the others."""


class HttpSubject:
    """A server on a port of 127.0.0.1 whose process tree is known; subclasses prepare the work."""

    operations: tuple[str, ...] = ()
    differs: Mapping[str, str] = {}
    #: Of load before each cell.
    warm_up_seconds = 0.3

    def __init__(self, name: str, port: int, root: int, database_root: int | None = None) -> None:
        self.name, self.port, self.root, self.database_root = name, port, root, database_root

    def prepare(self, operation: str, limits: Limits) -> Work:
        """Makes ready what the operation needs; not measured."""
        raise NotImplementedError

    def about(self) -> str:
        """One line for the report."""
        raise NotImplementedError

    def warm_up(self, limits: Limits) -> None:
        """Nothing; only what compiles itself while it runs needs more than the load before each cell."""

    def pss_bytes(self) -> int | None:
        """The memory of the server's processes, without PostgreSQL."""
        return processes.pss_bytes(self.root)

    def measure(self, operation: str, limits: Limits) -> Sample:
        """Warms the server up, then measures."""
        work = self.prepare(operation, limits)
        if not work.is_single_use:
            warm = replace(limits, seconds=min(self.warm_up_seconds, limits.seconds))
            load.run(self.port, work.source, warm, work.expected)
        before = self._cpu()
        outcome = load.run(self.port, work.source, limits, work.expected)
        after = self._cpu()
        answers = max(outcome.answers, 1)
        wrong = outcome.unexpected
        return Sample(
            subject=self.name,
            operation=operation,
            requests=outcome.answers,
            seconds=outcome.seconds,
            cpu_us=(after[0] - before[0]) / answers * 1e6,
            database_us=(after[1] - before[1]) / answers * 1e6 if self.database_root else None,
            p50_ms=outcome.percentile_ms(50),
            p99_ms=outcome.percentile_ms(99),
            failures=outcome.answers - outcome.statuses[work.expected],
            server_errors=sum(count for status, count in outcome.statuses.items() if status >= 500),
            complaint=f"{wrong.status} {wrong.body[:160]!r}" if wrong else "",
            shape=http.shape(outcome.expected) if outcome.expected else "",
        )

    def collect(self, requests: list[bytes], expected: int = 200) -> list[Answer]:
        """The answers to requests that prepare others.

        Raises:
            LoadFailed: when one of them is not answered as expected.
        """
        answers: list[Answer] = []
        limits = Limits(seconds=60, requests=len(requests), connections=min(8, len(requests)))
        outcome = load.run(self.port, http.each_once(requests), limits, expected, keep=answers)
        if outcome.unexpected is not None:
            raise load.LoadFailed(f"{self.name}: {outcome.unexpected.status} {outcome.unexpected.body[:300]!r}")
        return answers

    def _cpu(self) -> tuple[float, float]:
        database = processes.cpu_seconds(self.database_root) if self.database_root else 0.0
        return processes.cpu_seconds(self.root), database
