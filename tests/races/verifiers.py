"""Verifiers of tokens as they are in the wild: each keeps the JWKS for so long, by a clock that a test moves.

Between them and the server stands a cache that keeps the document for as long as its `Cache-Control` allows, so that
what a verifier fetches is as old as it can be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from joserfc import jwk, jwt
from joserfc.errors import JoseError

#: The JWKS as JSON, and what its `Cache-Control` says.
Fetch = Callable[[], tuple[bytes, str]]
#: Key ids and JWKs.
Keys = dict[str, str]
#: A verifier that meets an unknown key reads the JWKS again, but not more often than this.
_DAMPING = timedelta(minutes=5)


@dataclass
class SharedCache:
    """A cache on the way, such as a proxy of a network."""

    fetch: Fetch
    fetched_at: datetime | None = None
    max_age: timedelta = timedelta()
    keys: Keys = field(default_factory=dict)

    def read(self, now: datetime) -> Keys:
        """The JWKS, fresh or as old as it may be."""
        if self.fetched_at is None or now - self.fetched_at >= self.max_age:
            document, cache_control = self.fetch()
            found = re.search(r"max-age=(\d+)", cache_control)
            assert found, cache_control
            self.max_age, self.fetched_at = timedelta(seconds=int(found[1])), now
            self.keys = {key["kid"]: json.dumps(key) for key in json.loads(document)["keys"]}
        return self.keys

    def expires_at(self) -> datetime:
        """Until when what it has may be kept."""
        assert self.fetched_at is not None
        return self.fetched_at + self.max_age


@dataclass
class Verifier:
    """Keeps what it read until its time is up, and never asks before."""

    name: str
    source: SharedCache
    keeps: timedelta
    #: When it reads for the second time; from then on every `keeps`.
    expires_at: datetime
    keys: Keys

    def refresh(self, now: datetime) -> None:
        """Reads the JWKS again if it is time."""
        if now >= self.expires_at:
            self.keys = self.source.read(now)
            # Not from now on: the clock moves in steps, and verifiers would fall into step.
            self.expires_at += self.keeps * ((now - self.expires_at) // self.keeps + 1)

    def wonder(self, kid: str, now: datetime) -> None:
        """Meets a key id; most do not mind whether they know it."""


class HeedingVerifier(Verifier):
    """Keeps the JWKS as long as `Cache-Control` allows, the time in caches on the way counted in (RFC 9111 §4.2)."""

    def refresh(self, now: datetime) -> None:
        """Reads the JWKS again if it is time."""
        if now >= self.expires_at:
            self.keys = self.source.read(now)
            self.expires_at = self.source.expires_at()


class CuriousVerifier(Verifier):
    """Keeps the JWKS for ever, but reads it again for a key it does not know."""

    def refresh(self, now: datetime) -> None:
        """Sees no reason to."""

    def wonder(self, kid: str, now: datetime) -> None:
        """Reads the JWKS again, but not too often."""
        if kid not in self.keys and now - self.expires_at >= _DAMPING:
            self.keys, self.expires_at = self.source.read(now), now


#: How long verifiers keep the JWKS, and how many of each there are: their times of reading are spread evenly.
KEPT: dict[str, tuple[timedelta, int]] = {
    "5 minutes": (timedelta(minutes=5), 5),
    "10 minutes": (timedelta(minutes=10), 5),
    "1 hour": (timedelta(hours=1), 12),
    "12 hours": (timedelta(hours=12), 144),
    "24 hours": (timedelta(hours=24), 288),
}


def verifiers(fetch: Fetch, now: datetime) -> list[Verifier]:
    """All kinds, behind one shared cache; each has read the JWKS just now."""
    source = SharedCache(fetch)
    keys = source.read(now)
    found = [
        Verifier(name, source, keeps, now + keeps * (number + 1) / count, keys)
        for name, (keeps, count) in KEPT.items()
        for number in range(count)
    ]
    heeding = HeedingVerifier("as Cache-Control says", source, timedelta(), now, keys)
    return [*found, heeding, CuriousVerifier("for ever, unless a key is unknown", source, timedelta(), now, keys)]


@cache
def is_signed_by(token: str, key: str) -> bool:
    """Whether a JWK verifies a token, by its own `alg` alone."""
    parsed = jwk.import_key(json.loads(key))
    try:
        jwt.decode(token, parsed, algorithms=[json.loads(key)["alg"]])
    except (JoseError, ValueError):
        return False
    return True
