"""What each process remembers of the use of credentials until it is written: counts, and the last of each kind.

Noting a use takes a few microseconds and no database, and never fails. `domain/credential_usage.py` writes what is
noted here, at most once a minute for each credential over all processes.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from server.domain.actor import Actor
from server.domain.unproven_requests import UnprovenRequests
from server.infra.clock import Clock

CredentialKind = Literal["api_key", "client"]
#: Kind, id of the credential, day.
Subject: TypeAlias = tuple[CredentialKind, str, str]

#: More credentials than this are not remembered at a time; the uses of others are not counted, and still succeed.
CAPACITY: Final = 20_000
#: More different refusals than this do not wait to be looked up.
MAXIMUM_REFUSALS: Final = 2_000
#: From how many networks one credential is told of at a time.
_MAXIMUM_NETWORKS: Final = 50


@dataclass
class Noted:
    """What happened with one credential on one day since it was last written."""

    uses: int = 0
    failures: int = 0
    last_used_at: datetime | None = None
    last_used_ip: str | None = None
    last_used_user_agent: str | None = None
    last_failure_at: datetime | None = None
    last_failure_reason: str | None = None
    #: Where it was used from.
    networks: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class PresentedKey:
    """An API key that was refused. Whose it is is found out later, so that all refusals take the same time."""

    public_id: str
    #: The keyed digest of what was presented, under each pepper; none where the key was proven before it was refused.
    macs: tuple[str, ...]
    ip: str | None
    #: Why, where that is known.
    reason: str | None = None


@dataclass
class Refusals:
    """How often a key was refused in the same way since it was last told of, and the last such request."""

    count: int
    at: datetime
    actor: Actor


class UsageRecorder:
    """The counts of this process; any thread may add to them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._noted: dict[Subject, Noted] = {}
        self._refused: dict[PresentedKey, Refusals] = {}
        self._lock = threading.Lock()
        self.unproven = UnprovenRequests(clock)

    def note_use(self, kind: CredentialKind, credential_id: str, actor: Actor) -> None:
        """The actor used the credential."""
        at = self._clock.now()
        with self._lock:
            noted = self._of(kind, credential_id, at)
            if noted is not None:
                noted.uses += 1
                noted.last_used_at, noted.last_used_ip, noted.last_used_user_agent = at, actor.ip, actor.user_agent
                if actor.ip is not None and len(noted.networks) < _MAXIMUM_NETWORKS:
                    noted.networks.add(network_of(actor.ip))

    def note_failure(self, kind: CredentialKind, credential_id: str, reason: str, actor: Actor) -> None:
        """The actor presented the credential and was refused, for this reason."""
        self.note_failures(kind, credential_id, reason, Refusals(1, self._clock.now(), actor))

    def note_failures(self, kind: CredentialKind, credential_id: str, reason: str, refusals: Refusals) -> None:
        """As `note_failure`, for several at once."""
        with self._lock:
            noted = self._of(kind, credential_id, refusals.at)
            if noted is not None:
                noted.failures += refusals.count
                noted.last_failure_at, noted.last_failure_reason = refusals.at, reason

    def note_refusal(self, presented: PresentedKey, actor: Actor) -> None:
        """The actor presented an API key, which may be none of ours, and was refused."""
        at = self._clock.now()
        with self._lock:
            refusals = self._refused.get(presented)
            if refusals is not None:
                refusals.count, refusals.at, refusals.actor = refusals.count + 1, at, actor
            elif len(self._refused) < MAXIMUM_REFUSALS:
                self._refused[presented] = Refusals(1, at, actor)

    def take_refused(self) -> dict[PresentedKey, Refusals]:
        """The refusals so far, which are forgotten."""
        with self._lock:
            refused, self._refused = self._refused, {}
        return refused

    def give_back_refused(self, refused: Mapping[PresentedKey, Refusals]) -> None:
        """Adds the refusals that were taken and are not told of yet."""
        with self._lock:
            for presented, before in refused.items():
                since = self._refused.get(presented)
                if since is not None:
                    since.count += before.count
                elif len(self._refused) < MAXIMUM_REFUSALS:
                    self._refused[presented] = before

    def take(self) -> dict[Subject, Noted]:
        """All that is noted, which begins anew."""
        with self._lock:
            noted, self._noted = self._noted, {}
        return noted

    def give_back(self, noted: Mapping[Subject, Noted]) -> None:
        """Adds what was taken and is not written yet."""
        with self._lock:
            for subject, before in noted.items():
                since = self._noted.get(subject)
                if since is not None:
                    _add(since, before)
                elif len(self._noted) < CAPACITY:
                    self._noted[subject] = before

    def __len__(self) -> int:
        """Of how many credentials and days something is noted."""
        return len(self._noted)

    def _of(self, kind: CredentialKind, credential_id: str, at: datetime) -> Noted | None:
        subject = (kind, credential_id, _day(at.year, at.month, at.day))
        noted = self._noted.get(subject)
        if noted is None and len(self._noted) < CAPACITY:
            noted = self._noted[subject] = Noted()
        return noted


def _add(since: Noted, before: Noted) -> None:
    """Adds the counts of earlier; of what was last, the later stands."""
    since.uses += before.uses
    since.failures += before.failures
    since.networks |= before.networks
    if since.last_used_at is None:
        since.last_used_at, since.last_used_ip = before.last_used_at, before.last_used_ip
        since.last_used_user_agent = before.last_used_user_agent
    if since.last_failure_at is None:
        since.last_failure_at, since.last_failure_reason = before.last_failure_at, before.last_failure_reason


@lru_cache(maxsize=8)
def _day(year: int, month: int, day: int) -> str:
    return f"{year:04}-{month:02}-{day:02}"


@lru_cache(maxsize=4096)
def network_of(ip: str) -> str:
    """The network that an address counts as being in, what one household or one site has; what is none is its own."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((str(address), 24 if address.version == 4 else 48), strict=False))
