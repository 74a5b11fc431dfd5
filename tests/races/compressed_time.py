"""Months of scheduled key rotations in a minute: three replicas in this process over one database, by one clock.

At every step the clock moves, each replica issues tokens, and every verifier judges every token that is alive. Whenever
the schedule asks for something, all three sweepers follow it at once while three threads issue tokens.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from server.domain import key_rotation
from server.domain.signing_keys import KeyState, find_key, list_keys
from server.infra import jose
from server.web.background import Sweeper
from tests.races.results import Figures
from tests.races.verifiers import HeedingVerifier, Verifier, is_signed_by, verifiers
from tests.support.application import Gatepost
from tests.support.flow import basic

HOUR = 3600
#: As hard as it gets: the shortest time that keys may stay, and a turn that is hardly longer than the notice.
SETTINGS: dict[str, Any] = {
    "signing_key_rotation": 26 * HOUR,
    "signing_key_publication": 24 * HOUR,
    "signing_key_retirement": HOUR,
    "access_token_lifetime": HOUR,
    "id_token_lifetime": HOUR,
}
#: Seconds from one look to the next: small ones around every change, where a mistake would show.
STEPS, SMALL_STEPS = (600, 899, 1800, 2700, 3300), (30, 60, 120, 300)
AROUND = 1200
REPLICAS = 3


@dataclass(frozen=True)
class Issued:
    """A token and its end."""

    token: str
    kid: str
    expires_at: datetime


@dataclass
class Tally:
    """What came of it."""

    tokens: int = 0
    verifications: int = 0
    #: By whom a token was refused, each time.
    failures: list[str] = field(default_factory=list)
    #: Answers 503, which a client tries again: on one busy core, ten threads may keep SQLite's one lock too long.
    busy: int = 0
    #: Tokens whose key another replica did not publish at the moment they were issued.
    ahead_of_jwks: int = 0


class Deployment:
    """Replicas of one issuer, a client for each algorithm, and everybody who verifies their tokens."""

    def __init__(self, folder: Path, database_url: str | None = None) -> None:
        settings = SETTINGS if database_url is None else SETTINGS | {"database_url": database_url}
        first = Gatepost(folder, **settings)
        self.replicas = [first, *(Gatepost(folder, is_prepared=True, **settings) for _ in range(REPLICAS - 1))]
        self.headers = {algorithm: _client(first, algorithm) for algorithm in jose.SIGNING_ALGORITHMS}
        self.alive: list[Issued] = []
        self.tally, self.lock = Tally(), threading.Lock()
        self.random = random.Random(20261122)
        self.verifiers = verifiers(self._fetch, self.now)

    @property
    def now(self) -> datetime:
        """The moment everybody agrees on."""
        return self.replicas[0].clock.now()

    def _fetch(self) -> tuple[bytes, str]:
        response = self.random.choice(self.replicas).browser().get("/.well-known/jwks.json")
        return response.get_data(), response.headers["Cache-Control"]

    def advance(self, seconds: float) -> None:
        """Moves the clocks of all."""
        for replica in self.replicas:
            replica.clock.advance(seconds)
        self.alive = [issued for issued in self.alive if issued.expires_at > self.now]

    def issue(self, replica: int, algorithm: str) -> Issued:
        """A token from one replica; the next one must publish its key already (R-15)."""
        form = {"grant_type": "client_credentials"}
        answer = self._browser(replica).post("/oauth/token", data=form, headers=self.headers[algorithm])
        while answer.status_code == 503:
            self.tally.busy += 1
            answer = self._browser(replica).post("/oauth/token", data=form, headers=self.headers[algorithm])
        token = answer.get_json()["access_token"]
        kid, lifetime = jose.peek_header(token)["kid"], answer.get_json()["expires_in"]
        published = self._browser(replica + 1).get("/.well-known/jwks.json").get_json()["keys"]
        issued = Issued(token, kid, self.now + timedelta(seconds=lifetime))
        with self.lock:
            self.tally.tokens += 1
            self.tally.ahead_of_jwks += kid not in {key["kid"] for key in published}
            self.alive.append(issued)
        return issued

    def _browser(self, replica: int) -> FlaskClient:
        return self.replicas[replica % REPLICAS].browser()

    def is_due(self, ahead: float = 0) -> bool:
        """Whether a sweeper would find something to do, now or some seconds later."""
        clock = self.replicas[0].clock
        clock.advance(ahead)
        try:
            with self.replicas[0].work() as work:
                return bool(key_rotation.list_due(work))
        finally:
            clock.advance(-ahead)

    def rotate_under_load(self) -> None:
        """All sweepers at once, and on every replica somebody who wants tokens meanwhile."""
        is_over = threading.Event()

        def want_tokens(replica: int) -> None:
            while not is_over.is_set():
                for algorithm in jose.SIGNING_ALGORITHMS:
                    self.issue(replica, algorithm)

        with ThreadPoolExecutor(2 * REPLICAS) as pool:
            wanting = [pool.submit(want_tokens, replica) for replica in range(REPLICAS)]
            sweeping = [pool.submit(Sweeper(replica.runtime).sweep_all) for replica in self.replicas]
            wait(sweeping)
            is_over.set()
        for future in (*sweeping, *wanting):
            future.result()

    def rotate_unannounced(self) -> None:
        """What must not be done: new keys sign at once, and nobody has met them."""
        for algorithm in jose.SIGNING_ALGORITHMS:
            with self.replicas[0].work() as work:
                key_rotation.rotate_key(work, algorithm)

    def judge(self) -> None:
        """Every verifier looks at every token that is alive."""
        alike: dict[int, list[Verifier]] = {}
        now, kids = self.now, {issued.kid for issued in self.alive}
        for verifier in self.verifiers:
            verifier.refresh(now)
            for kid in kids:
                verifier.wonder(kid, now)
            alike.setdefault(id(verifier.keys), []).append(verifier)
        # Those who read the same document come to the same end.
        for group in alike.values():
            self.tally.verifications += len(group) * len(self.alive)
            failing = sum(not believes(group[0], issued) for issued in self.alive)
            self.tally.failures += [verifier.name for verifier in group for _ in range(failing)]

    def contradictions(self) -> list[str]:
        """What must hold of the keys at every moment."""
        with self.replicas[0].work() as work:
            keys = list_keys(work)
        active = sorted(key.algorithm for key in keys if key.state == KeyState.ACTIVE)
        faults = [] if len(active) == len(set(active)) else [f"active at once: {active}"]
        return faults + ([] if set(active) >= set(jose.SIGNING_ALGORITHMS) else [f"active are only {active}"])

    def close(self) -> None:
        """Lets go of the database."""
        for replica in self.replicas:
            replica.close()


def believes(verifier: Verifier, issued: Issued) -> bool:
    """Whether a verifier takes the token, by the keys it has."""
    key = verifier.keys.get(issued.kid)
    return key is not None and is_signed_by(issued.token, key)


def _client(gatepost: Gatepost, algorithm: str) -> dict[str, str]:
    name = f"machine-{algorithm.lower()}"
    _, secret = gatepost.add_client("machine", client_id=name, access_token_signed_response_alg=algorithm)
    assert secret is not None
    return basic(name, secret)


@contextmanager
def deployment(folder: Path, database_url: str | None = None) -> Iterator[Deployment]:
    """Replicas that end with the context."""
    with ExitStack() as stack:
        found = Deployment(folder, database_url)
        stack.callback(found.close)
        yield found


def simulate(
    folder: Path, rotations: int, database_url: str | None = None, *, is_announced: bool = True
) -> tuple[Figures, list[str]]:
    """R-13 and the last part of R-15, then R-14 on the same deployment; the figures and every broken promise.

    Without `is_announced` it is a deployment that knows no next keys.
    """
    with deployment(folder, database_url) as on:
        began, turns, faults = on.now, 0, list[str]()
        changed_at = began
        while turns < rotations:
            is_near = is_announced and (on.now - changed_at < timedelta(seconds=AROUND) or on.is_due(AROUND))
            on.advance(on.random.choice(SMALL_STEPS if is_near else STEPS))
            before = _signing(on)
            if is_announced and on.is_due():
                on.rotate_under_load()
                faults += on.contradictions()
                changed_at = on.now
            elif not is_announced and on.now - began >= timedelta(hours=26 * (turns + 1)):
                on.rotate_unannounced()
            turns += _signing(on) != before
            for algorithm in jose.SIGNING_ALGORITHMS:
                on.issue(on.random.randrange(REPLICAS), algorithm)
            on.judge()
        tally = on.tally
        figures: Figures = {
            "scheduled rotations": turns,
            "simulated days": (on.now - began).days,
            "tokens": tally.tokens,
            "token requests to be tried again": tally.busy,
            "verifiers": len(on.verifiers),
            "verifications": tally.verifications,
            "verification failures": len(tally.failures),
            "tokens ahead of the JWKS": tally.ahead_of_jwks,
        }
        distrusted, found = _leak(on)
    ahead = [f"{tally.ahead_of_jwks} tokens came before their key"] if tally.ahead_of_jwks else []
    failures = [f"a token fails for whoever keeps the JWKS: {name}" for name in sorted(set(tally.failures))]
    return figures | distrusted, [*faults, *failures, *ahead, *found]


def _signing(on: Deployment) -> str:
    with on.replicas[0].work() as work:
        active = find_key(work, "RS256", KeyState.ACTIVE)
    assert active is not None
    return active.kid


def _leak(on: Deployment) -> tuple[Figures, list[str]]:
    """R-14: how long a leaked key is believed."""
    leaked = [on.issue(0, algorithm) for algorithm in jose.SIGNING_ALGORITHMS]
    on.judge()
    for algorithm in jose.SIGNING_ALGORITHMS:
        with on.replicas[1].work() as work:
            key_rotation.rotate_in_emergency(work, algorithm)
    fresh = [on.issue(replica, algorithm) for replica in range(REPLICAS) for algorithm in jose.SIGNING_ALGORITHMS]
    faults = (
        ["a replica signs with a leaked key"] if {each.kid for each in fresh} & {each.kid for each in leaked} else []
    )
    heeding = [verifier for verifier in on.verifiers if isinstance(verifier, HeedingVerifier)]
    seconds = 0
    while seconds <= HOUR and any(believes(verifier, each) for verifier in heeding for each in leaked):
        on.advance(10)
        seconds += 10
        for verifier in heeding:
            verifier.refresh(on.now)
    faults += [] if seconds <= 910 else [f"a leaked key is believed for {seconds} s"]
    return {"seconds until nobody who heeds Cache-Control believes a leaked key": seconds}, faults
