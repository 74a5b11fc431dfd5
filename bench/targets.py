"""What the figures are held to: ratios of two cells of the same round, so that the machine cancels out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.campaign import GATEPOST_POSTGRES, GATEPOST_SQLITE
from bench.floors.subjects import HASH, SERVER, SIGN
from bench.subject import (
    CLIENT_CREDENTIALS,
    CLIENT_CREDENTIALS_ES256,
    CODE_EXCHANGE,
    DISCOVERY,
    INTROSPECTION,
    JWKS,
    LOGIN,
    REFRESH,
    USERINFO,
    Sample,
)

Cell = tuple[str, str]

MEMORY_MB = 175
SQLITE_REFRESH_P99_MS = 60
_PEER, _PEER_POSTGRES = "oidc-provider", "oidc-provider, PostgreSQL"


@dataclass(frozen=True)
class Target:
    """CPU per request of one cell, at most `limit` times that of another."""

    cell: Cell
    floor: Cell
    limit: float

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.cell[1]}, {self.cell[0].partition(', ')[2]} ÷ {self.floor[1]}, {self.floor[0]}"


TARGETS = tuple(
    Target((subject, operation), floor, limit)
    for operation, floor, limit, subjects in (
        (CLIENT_CREDENTIALS, (SERVER, SIGN), 1.6, (GATEPOST_SQLITE, GATEPOST_POSTGRES)),
        (CLIENT_CREDENTIALS, (_PEER, CLIENT_CREDENTIALS), 0.75, (GATEPOST_SQLITE, GATEPOST_POSTGRES)),
        (CLIENT_CREDENTIALS_ES256, (SERVER, SIGN), 0.3, (GATEPOST_SQLITE, GATEPOST_POSTGRES)),
        # Two signatures, the access token's and the ID token's.
        (CODE_EXCHANGE, (SERVER, SIGN), 3.2, (GATEPOST_SQLITE, GATEPOST_POSTGRES)),
        (REFRESH, (SERVER, SIGN), 2.0, (GATEPOST_POSTGRES,)),
        (REFRESH, (_PEER_POSTGRES, REFRESH), 0.7, (GATEPOST_POSTGRES,)),
        (INTROSPECTION, (_PEER_POSTGRES, INTROSPECTION), 1.0, (GATEPOST_POSTGRES,)),
        (USERINFO, (_PEER_POSTGRES, USERINFO), 1.0, (GATEPOST_POSTGRES,)),
        (JWKS, (_PEER, JWKS), 1.0, (GATEPOST_SQLITE, GATEPOST_POSTGRES)),
        (DISCOVERY, (_PEER, DISCOVERY), 1.0, (GATEPOST_SQLITE, GATEPOST_POSTGRES)),
        (LOGIN, (SERVER, HASH), 1.1, (GATEPOST_SQLITE, GATEPOST_POSTGRES)),
    )
    for subject in subjects
)


def ratios(samples: Sequence[Sample], cell: Cell, floor: Cell) -> list[float]:
    """CPU of `cell` over CPU of `floor`, one ratio for each round that has both."""
    found: dict[int, dict[Cell, float]] = {}
    for sample in samples:
        found.setdefault(sample.round, {})[(sample.subject, sample.operation)] = sample.cpu_us
    return [cells[cell] / cells[floor] for cells in found.values() if cell in cells and cells.get(floor, 0.0) > 0]


def judged(samples: Sequence[Sample]) -> list[tuple[Target, float, list[float]]]:
    """Each target that could be measured: its median ratio, and all of them."""
    found = [(target, ratios(samples, target.cell, target.floor)) for target in TARGETS]
    return [(target, median(values), values) for target, values in found if values]
