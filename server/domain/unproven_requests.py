"""Refused requests that proved nothing, of which anybody can send any number: one row a minute for those alike.

The first of a kind from a network is told of at once, the others of the same minute by one row with their count.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from server.domain.actor import Actor
from server.domain.audit_events import AuditEvent
from server.infra.clock import Clock

MINUTE: Final = timedelta(minutes=1)
#: When more kinds and networks than these are waiting, further networks are counted together.
MAXIMUM_KINDS: Final = 2_000


@dataclass(frozen=True)
class UnprovenRequest:
    """What requests have in common that are told of together; the details are ours and few, nothing that was sent."""

    event: AuditEvent
    details: tuple[tuple[str, str], ...]
    #: None for all networks together.
    network: str | None


@dataclass
class Repetitions:
    """How many there were beyond those that a row tells of, and the last of them."""

    first_at: datetime
    actor: Actor
    count: int = 0


class UnprovenRequests:
    """Those of this process; any thread may add to them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._repetitions: dict[UnprovenRequest, Repetitions] = {}
        self._lock = threading.Lock()

    def is_first(self, request: UnprovenRequest, actor: Actor) -> bool:
        """Whether it is the first of its kind in this minute; others are counted."""
        now = self._clock.now()
        with self._lock:
            if request not in self._repetitions and len(self._repetitions) >= MAXIMUM_KINDS:
                request = replace(request, network=None)
            before = self._repetitions.get(request)
            if before is None:
                self._repetitions[request] = Repetitions(now, actor)
                return True
            before.count, before.actor = before.count + 1, actor
            return False

    def take(self, *, all_of_them: bool = False) -> dict[UnprovenRequest, Repetitions]:
        """Those whose minute is over, or all, which are forgotten; only what was repeated is returned."""
        now = self._clock.now()
        with self._lock:
            over = {
                request: repetitions
                for request, repetitions in self._repetitions.items()
                if all_of_them or now - repetitions.first_at >= MINUTE
            }
            for request in over:
                del self._repetitions[request]
        return {request: repetitions for request, repetitions in over.items() if repetitions.count}

    def give_back(self, taken: dict[UnprovenRequest, Repetitions]) -> None:
        """Adds what was taken and is not told of yet."""
        with self._lock:
            for request, before in taken.items():
                since = self._repetitions.setdefault(request, before)
                if since is not before:
                    since.count += before.count
