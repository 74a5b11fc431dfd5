"""Many clients present the same single-use artefact to three server processes at the same instant.

For every authorization code, and for every refresh token, all connections are opened, dealt out over the replicas, and
everything but the last byte of the body is sent; then the last bytes are released together. What must be seen:

R-01   a code has exactly one success, every other answer is 400 invalid_grant, and none is a 5xx or lost;
R-02   the replays end what the success gave: its access token is inactive when the last answer is in;
R-08   a refresh token has one successor, every retry in the window gets the identical answer, the successor works;
R-03   afterwards the database agrees: see `consistency.py`.

python -m tests.races.race                                       100 codes × 20 clients, 100 refresh tokens × 20
python -m tests.races.race --codes 10000 --clients 50 --refresh-tokens 1000 --refresh-clients 20 --record
python -m tests.races.race --naive                               the server that checks before it acts: must lose

Starts its own PostgreSQL and servers. Exit status: 0 when every promise was kept, 1 when one was broken.
"""

from __future__ import annotations

import argparse
import collections
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.races.connection import Answer, Connection
from tests.races.consistency import contradictions, count
from tests.races.progress import Progress
from tests.races.results import Figures, conclude
from tests.races.stage import GATEPOST, NAIVE, Minter, Stage, refresh_form, stage

#: Seconds between the last withheld body and the release, so that the heads have arrived everywhere.
PAUSE = 0.005
#: Heats at once: while one waits for its answers the next lines up.
LANES = 3
REFUSED = "400 invalid_grant"


@dataclass
class Tally:
    """What a contest showed; `faults` lists every broken promise in words."""

    artefacts: int = 0
    requests: int = 0
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    exactly_one: int = 0
    more_than_one: int = 0
    none: int = 0
    identical_retries: int = 0
    slowest_revocation: float = 0.0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, answers: Sequence[Answer], winners: int, faults: Sequence[str]) -> None:
        """Counts one heat."""
        with self.lock:
            self.artefacts += 1
            self.requests += len(answers)
            self.outcomes.update(answer.outcome for answer in answers)
            self.exactly_one += winners == 1
            self.more_than_one += winners > 1
            self.none += winners == 0
            self.faults += faults

    @property
    def server_errors(self) -> int:
        """Answers of 500 and above."""
        return sum(number for outcome, number in self.outcomes.items() if outcome[0] == "5")

    @property
    def dropped(self) -> int:
        """Connections that broke instead of answering."""
        return sum(number for outcome, number in self.outcomes.items() if outcome[0] == "0")


class Lane:
    """A set of connections, one a client, on which one heat after another is run."""

    def __init__(self, on: Stage, clients: int) -> None:
        self.stage = on
        self.connections = [Connection(on.ports[number % len(on.ports)]) for number in range(clients)]

    def heat(self, path: str, form: dict[str, str], pause: float = PAUSE) -> list[Answer]:
        """Presents one form on every connection, the last bytes together."""
        message = self.stage.post(path, form)
        for connection in self.connections:
            connection.open()
        for connection in self.connections:
            connection.hold(message)
        time.sleep(pause)
        for connection in self.connections:
            connection.release()
        return [connection.answer() for connection in self.connections]

    def close(self) -> None:
        """Hangs up."""
        for connection in self.connections:
            connection.close()


Judge = Callable[[Lane, int, list[Answer], Tally], None]


def judge_code(lane: Lane, number: int, answers: list[Answer], tally: Tally) -> None:
    """R-01 and R-02 for one code."""
    winners = [answer for answer in answers if answer.status == 200]
    faults = [] if len(winners) == 1 else [f"code {number}: {len(winners)} successes"]
    odd = {answer.outcome for answer in answers if answer.status != 200 and answer.outcome != REFUSED}
    if odd:
        faults.append(f"code {number}: neither success nor invalid_grant: {sorted(odd)}")
    started = time.monotonic()
    for winner in winners[:1]:
        form = {"token": str(winner.members["access_token"])}
        told = lane.connections[number % len(answers)].exchange(lane.stage.post("/oauth/introspect", form))
        if len(answers) > 1 and told.members.get("active") is not False:
            faults.append(f"code {number}: replayed, yet the token it gave is {told.outcome} {told.members}")
    tally.add(answers, len(winners), faults)
    with tally.lock:
        tally.slowest_revocation = max(tally.slowest_revocation, time.monotonic() - started)


def judge_refresh(lane: Lane, number: int, answers: list[Answer], tally: Tally) -> None:
    """R-08 for one refresh token."""
    successes = [answer for answer in answers if answer.status == 200]
    successors = {str(answer.members.get("refresh_token")) for answer in successes}
    bodies = {answer.body for answer in successes}
    faults = [] if len(successors) == 1 else [f"refresh token {number}: {len(successors)} successors"]
    if len(successes) != len(answers):
        faults.append(f"refresh token {number}: {len(answers) - len(successes)} retries inside the window refused")
    if len(bodies) > 1:
        faults.append(f"refresh token {number}: {len(bodies)} different answers")
    if len(successors) == 1:
        form = refresh_form(successors.pop())
        after = lane.connections[number % len(answers)].exchange(lane.stage.post("/oauth/token", form))
        if after.status != 200:
            faults.append(f"refresh token {number}: its successor answers {after.outcome}")
    tally.add(answers, len({str(answer.members.get("refresh_token")) for answer in successes}), faults)
    if len(bodies) == 1:
        with tally.lock:
            tally.identical_retries += len(successes) - 1


def contest(on: Stage, kind: str, artefacts: int, clients: int, *, lanes: int = LANES) -> Tally:
    """Races `clients` connections for each of `artefacts` codes or refresh tokens; kind is "codes" or "refresh"."""
    tally = Tally()
    progress = Progress(kind, artefacts)
    judge: Judge = judge_code if kind == "codes" else judge_refresh
    minter = Minter(on)
    numbers = iter(range(1, artefacts + 1))
    taking = threading.Lock()

    def taken() -> Iterator[int]:
        while True:
            with taking:
                number = next(numbers, None)
            if number is None:
                return
            yield number

    def run() -> None:
        lane, mine = Lane(on, clients), minter.copy()
        try:
            for number in taken():
                # Minted just before it is raced for: a code lives for a minute.
                form = mine.code() if kind == "codes" else refresh_form(mine.tokens()["refresh_token"])
                judge(lane, number, lane.heat("/oauth/token", form), tally)
                progress.step(f"({tally.more_than_one} doubles, {tally.server_errors} × 5xx)")
        finally:
            lane.close()

    with ThreadPoolExecutor(lanes) as executor:
        for future in [executor.submit(run) for _ in range(lanes)]:
            future.result()
    tally.seconds = progress.seconds
    return tally


def promises_broken(tally: Tally) -> list[str]:
    """The faults of a contest, with what its totals add."""
    faults = list(tally.faults)
    if tally.server_errors or tally.dropped:
        faults.append(f"{tally.server_errors} answers ≥ 500, {tally.dropped} connections dropped")
    return faults


def _figures_of_codes(tally: Tally, clients: int, url: str) -> Figures:
    return {
        "codes": tally.artefacts,
        "clients for each": clients,
        "redemptions": tally.requests,
        "codes with exactly one success": tally.exactly_one,
        "doubles": tally.more_than_one,
        "codes without success": tally.none,
        "answers": dict(sorted(tally.outcomes.items())),
        "answers ≥ 500": tally.server_errors,
        "dropped connections": tally.dropped,
        "slowest revocation after the last answer, seconds": round(tally.slowest_revocation, 3),
        "spent codes in the database": count(
            url, "SELECT COUNT(*) FROM authorization_codes WHERE consumed_at IS NOT NULL"
        ),
        "grants revoked for reuse": count(
            url, "SELECT COUNT(*) FROM grants WHERE revocation_reason = 'authorization_code_reused'"
        ),
        "seconds": round(tally.seconds, 1),
    }


def _figures_of_refresh(tally: Tally, clients: int) -> Figures:
    return {
        "refresh tokens": tally.artefacts,
        "clients for each": clients,
        "answers": dict(sorted(tally.outcomes.items())),
        "tokens with exactly one successor": tally.exactly_one,
        "tokens with more": tally.more_than_one,
        "tokens with none": tally.none,
        "identical in-window retries": tally.identical_retries,
        "answers ≥ 500": tally.server_errors,
        "dropped connections": tally.dropped,
        "seconds": round(tally.seconds, 1),
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--codes", type=int, default=100, help="authorization codes (default: %(default)s)")
    found.add_argument("--clients", type=int, default=20, help="redemptions of each at once (default: %(default)s)")
    found.add_argument("--refresh-tokens", type=int, default=100, help="default: %(default)s")
    found.add_argument("--refresh-clients", type=int, default=20, help="uses of each at once (default: %(default)s)")
    found.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    found.add_argument("--replicas", type=int, default=3, help="server processes (default: %(default)s)")
    found.add_argument("--lanes", type=int, default=LANES, help="heats at once (default: %(default)s)")
    found.add_argument("--naive", action="store_true", help="race the server that checks before it acts")
    found.add_argument("--record", action="store_true", help="leave the figures for docs/trust.md")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the races that the command line asks for; returns the exit status."""
    options = parser().parse_args(arguments)
    program = NAIVE if options.naive else GATEPOST
    status = 0
    with stage(options.database, replicas=options.replicas, program=program) as on:
        if options.codes:
            tally = contest(on, "codes", options.codes, options.clients, lanes=options.lanes)
            faults = promises_broken(tally) + contradictions(on.database_url)
            figures = _figures_of_codes(tally, options.clients, on.database_url)
            status |= conclude("race-codes", figures, faults, is_recorded=options.record)
        if options.refresh_tokens:
            tally = contest(on, "refresh", options.refresh_tokens, options.refresh_clients, lanes=options.lanes)
            faults = promises_broken(tally) + contradictions(on.database_url)
            figures = _figures_of_refresh(tally, options.refresh_clients)
            status |= conclude("race-refresh", figures, faults, is_recorded=options.record)
    return status


if __name__ == "__main__":
    sys.exit(main())
