"""Real processes that rotate keys at the same instant, start at the same instant, or hear that a key has leaked."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Engine, create_engine, make_url, text

from server.cli.main import main as gatepost
from server.infra import jose
from tests.races.connection import Answer, Connection, request
from tests.races.results import Figures
from tests.races.stage import Minter, Stage, prepared
from tests.support.servers import running

PROCESSES = 3
LOADERS = 3
ALGORITHM = "RS256"
#: Within which every replica has heard of a change (`registry_cache.py`), and the bound of R-14.
HEARD_SECONDS, EMERGENCY_SECONDS = 1.0, 10.0
_ACTIVE = "SELECT algorithm, COUNT(*) AS keys_active FROM signing_keys WHERE state = 'active' GROUP BY algorithm"
_ROTATIONS = "SELECT COUNT(*) FROM audit_events WHERE event = 'signing_key.rotated'"
_CREATED = "SELECT COUNT(*) FROM audit_events WHERE event = 'signing_key.created'"


@contextmanager
def engine_of(database_url: str) -> Iterator[Engine]:
    """A way past the servers to their database."""
    url = make_url(database_url)
    engine = create_engine(url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url)
    try:
        yield engine
    finally:
        engine.dispose()


def active_keys(engine: Engine) -> dict[str, int]:
    """How many keys are active, by algorithm, at one moment."""
    with engine.connect() as connection:
        return {row.algorithm: row.keys_active for row in connection.execute(text(_ACTIVE))}


def _count(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


class Watch(threading.Thread):
    """Looks all the time whether each algorithm has its one active key."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(daemon=True)
        self._engine, self._is_over = engine, threading.Event()
        self.looks, self.faults = 0, set[str]()

    def run(self) -> None:
        """The thread's work."""
        while not self._is_over.wait(0.005):
            found = active_keys(self._engine)
            self.looks += 1
            if not set(found) >= set(jose.SIGNING_ALGORITHMS) or set(found.values()) != {1}:
                self.faults.add(f"active keys at once: {found}")

    def end(self) -> list[str]:
        """What it saw."""
        self._is_over.set()
        self.join()
        return sorted(self.faults)


class Loader(threading.Thread):
    """Refreshes without end; the key of every token must be in the JWKS by the time the token arrives."""

    def __init__(self, on: Stage, minter: Minter, number: int) -> None:
        super().__init__(daemon=True)
        self._on, self._number = on, number
        self._refresh_token: object = minter.copy().tokens()["refresh_token"]
        self._is_over = threading.Event()
        self.tokens, self.slowest, self.faults = 0, 0.0, set[str]()

    def run(self) -> None:
        """The thread's work."""
        while not self._is_over.is_set():
            self._number += 1
            self._refresh_once(self._number)

    def _refresh_once(self, replica: int) -> None:
        answer = self._on.refresh(self._refresh_token, replica)
        if answer.status != 200:
            self.faults.add(f"a refresh answers {answer.outcome}")
            return
        self._refresh_token = answer.members["refresh_token"]
        kids = kids_of(answer)
        self.tokens += 2
        if not kids <= published(self._on, replica):
            self.faults.add("the replica that signed a token does not publish its key")
        began = asked = time.monotonic()
        while not kids <= published(self._on, replica + 1) and asked - began < EMERGENCY_SECONDS:
            time.sleep(0.01)
            # As late as this it was not there yet, if it is not: how long the answer takes tells nothing.
            asked = time.monotonic()
        self.slowest = max(self.slowest, asked - began)

    def end(self) -> list[str]:
        """What went wrong."""
        self._is_over.set()
        self.join()
        late = [f"a key was published {self.slowest:.1f} s late"] if self.slowest > HEARD_SECONDS else []
        return sorted(self.faults) + late


def kids_of(answer: Answer) -> set[str]:
    """The keys that signed a token response."""
    return {str(jose.peek_header(str(answer.members[name]))["kid"]) for name in ("access_token", "id_token")}


def published(on: Stage, replica: int) -> set[str]:
    """The key ids of one replica's JWKS."""
    connection = Connection(on.ports[replica % len(on.ports)])
    try:
        answer = connection.exchange(request("GET", f"{on.issuer}/.well-known/jwks.json", {}))
    finally:
        connection.close()
    return {key["kid"] for key in json.loads(answer.body)["keys"]}


def _rotate_again_and_again(
    environment: Mapping[str, str], folder: Path, barrier: Any, rounds: int, outcomes: Any
) -> None:
    """One process: `gatepost keys rotate`, each time together with the others."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for _ in range(rounds):
        barrier.wait(60)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            try:
                gatepost(["keys", "rotate", "--algorithm", ALGORITHM, "--json"], standalone_mode=False)
            except click.ClickException as error:
                outcomes.put(("fault", error.format_message()))
                continue
        outcomes.put(("kid", json.loads(printed.getvalue())["kid"]))


def _race(on: Stage, rounds: int) -> list[tuple[str, str]]:
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(PROCESSES), context.Queue()
    server = on.servers[0]
    arguments = (server.environment, server.directory, barrier, rounds, outcomes)
    racers = [context.Process(target=_rotate_again_and_again, args=arguments) for _ in range(PROCESSES)]
    for racer in racers:
        racer.start()
    found = [outcomes.get(timeout=120) for _ in range(PROCESSES * rounds)]
    for racer in racers:
        racer.join(60)
    return found


def rotated_at_once(on: Stage, rounds: int) -> tuple[Figures, list[str]]:
    """R-15: three processes rotate the same key at once, round after round, while clients want tokens."""
    with engine_of(on.database_url) as engine:
        return _rotated_at_once(on, rounds, engine)


def _rotated_at_once(on: Stage, rounds: int, engine: Engine) -> tuple[Figures, list[str]]:
    minter = Minter(on)
    before = _count(engine, _ROTATIONS)
    watch, loaders = Watch(engine), [Loader(on, minter, number) for number in range(LOADERS)]
    for thread in (watch, *loaders):
        thread.start()
    outcomes = _race(on, rounds)
    faults = [fault for thread in (watch, *loaders) for fault in thread.end()]
    faults += [f"a rotation ends with: {sentence}" for kind, sentence in outcomes if kind == "fault"]
    found = active_keys(engine)
    if set(found.values()) != {1}:
        faults.append(f"active keys in the end: {found}")
    rotations = _count(engine, _ROTATIONS) - before
    kids = {kid for kind, kid in outcomes if kind == "kid"}
    if len(kids) != rotations:
        faults.append(f"{rotations} rotations were noted, and {len(kids)} keys were told of")
    return {
        "rounds of three processes at once": rounds,
        "rotations that came of them": rotations,
        "looks at the active keys meanwhile": watch.looks,
        "tokens meanwhile": sum(loader.tokens for loader in loaders),
        "slowest publication on another replica, seconds": round(max(loader.slowest for loader in loaders), 3),
    }, faults


def emergency(on: Stage) -> tuple[Figures, list[str]]:
    """R-14: a key has leaked; how long until no replica signs with it or publishes it, or believes what it signed."""
    given = Minter(on).tokens()
    leaked = published(on, 0)
    on.servers[0].run("keys", "rotate", "--algorithm", "all", "--emergency")
    slowest = max(_until(lambda replica=replica: not leaked & published(on, replica)) for replica in range(3))
    faults = ["a leaked key is still published"] if slowest > EMERGENCY_SECONDS else []
    token: object = given["refresh_token"]
    for replica in range(3):
        if on.is_active(given["access_token"], replica):
            faults.append("a token under a leaked key is active")
        answer = on.refresh(token, replica)
        if answer.status != 200 or kids_of(answer) & leaked:
            faults.append(f"after the emergency a refresh answers {answer.outcome}, or is signed by a leaked key")
        token = answer.members.get("refresh_token")
    return {"seconds until all replicas have left a leaked key": round(slowest, 3)}, faults


def _until(is_so: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not is_so() and time.monotonic() - began <= EMERGENCY_SECONDS:
        time.sleep(0.01)
    return time.monotonic() - began


def started_at_once(database_url: str, replicas: int = PROCESSES) -> tuple[Figures, list[str]]:
    """R-15: replicas that start together over a database without keys."""
    with prepared(database_url, replicas=replicas) as ready, ExitStack() as stack, ThreadPoolExecutor(replicas) as pool:
        keys = ready.servers[0].run_json("keys", "list")
        if keys:
            raise AssertionError(f"there are keys before the first start: {keys}")
        list(pool.map(lambda server: stack.enter_context(running(server, "serve", "--workers", "1")), ready.servers))
        with engine_of(database_url) as engine:
            found, created = active_keys(engine), _count(engine, _CREATED)
        documents = {frozenset(published(ready, replica)) for replica in range(replicas)}
    faults = [] if set(found.values()) == {1} and created == len(found) else [f"{created} keys, active: {found}"]
    if len(documents) != 1:
        faults.append("replicas that started together publish different keys")
    return {"replicas started at once": replicas, "keys they made": created}, faults
