"""Two who want the opposite at the same instant, and many who want the one database file.

R-11   a refresh token is used and revoked at the same instant, on two processes: whichever came first, nothing that it
       gave lives afterwards;
R-06   32 threads redeem, refresh, introspect and revoke on one SQLite file through three processes: no client is ever
       told anything but the truth or 503 with Retry-After, and the file is sound afterwards.

python -m tests.races.contention
python -m tests.races.contention --pairs 1000 --seconds 600 --record

Exit status: 0 when every promise was kept, 1 when one was broken.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.races.connection import Answer, Connection
from tests.races.consistency import contradictions
from tests.races.parallel import each
from tests.races.results import Figures, conclude
from tests.races.stage import Minter, Stage, refresh_form, stage

THREADS = 32
#: The most that either request of a pair is held back, in seconds: about as long as it takes.
STAGGER = 0.01


def revoked_while_refreshed(on: Stage, pairs: int) -> tuple[Figures, list[str]]:
    """R-11."""
    outcomes: collections.Counter[str] = collections.Counter()
    lock = threading.Lock()

    def story(number: int, minter: Minter) -> list[str]:
        given = minter.tokens()
        token = given["refresh_token"]
        refreshing, revoking = (Connection(on.ports[(number + turn) % len(on.ports)]) for turn in range(2))
        refreshing.hold(on.post("/oauth/token", refresh_form(token)))
        revoking.hold(on.post("/oauth/revoke", {"token": token}))
        for connection in (refreshing, revoking) if number % 2 else (revoking, refreshing):
            connection.release()
            time.sleep(random.uniform(0, STAGGER))
        refreshed, revoked = refreshing.answer(), revoking.answer()
        with lock:
            outcomes[f"refresh {refreshed.outcome}"] += 1
        faults = [] if revoked.status == 200 else [f"the revocation answers {revoked.outcome}"]
        if refreshed.outcome not in {"200", "400 invalid_grant"}:
            faults.append(f"the refresh answers {refreshed.outcome}")
        return faults + _survivors(on, given, refreshed, number)

    faults = each("revoked while refreshed", on, pairs, story)
    return {"pairs": pairs, "of which": dict(sorted(outcomes.items())), "surviving tokens": len(faults)}, faults


def _survivors(on: Stage, given: dict[str, str], refreshed: Answer, replica: int) -> list[str]:
    held = [given, refreshed.members] if refreshed.status == 200 else [given]
    faults = ["an access token is active" for tokens in held if on.is_active(tokens["access_token"], replica)]
    works = [tokens for tokens in held if on.refresh(tokens["refresh_token"], replica).status == 200]
    return faults + ["a refresh token works"] * len(works)


def crowded_file(on: Stage, seconds: float) -> tuple[Figures, list[str]]:
    """R-06."""
    outcomes: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    lock = threading.Lock()
    ending, minter = time.monotonic() + seconds, Minter(on)

    def ask(connection: Connection, path: str, form: dict[str, str]) -> Answer:
        answer = connection.exchange(on.post(path, form))
        with lock:
            outcomes[answer.outcome] += 1
            if answer.status not in {200, 503}:
                faults.append(f"{path} answers {answer.outcome}")
            if answer.status == 503 and not answer.header("retry-after"):
                faults.append("a 503 without Retry-After")
            if b"locked" in answer.body:
                faults.append("a client is told that the database is locked")
        return answer

    def run(number: int) -> None:
        mine, connection = minter.copy(), Connection(on.ports[number % len(on.ports)])
        while time.monotonic() < ending:
            answer = ask(connection, "/oauth/token", mine.code())
            for _ in range(5):
                if answer.status == 200:
                    ask(connection, "/oauth/introspect", {"token": str(answer.members["access_token"])})
                    answer = ask(connection, "/oauth/token", refresh_form(answer.members["refresh_token"]))
            if answer.status == 200:
                ask(connection, "/oauth/revoke", {"token": str(answer.members["refresh_token"])})

    with ThreadPoolExecutor(THREADS) as executor:
        for future in [executor.submit(run, number) for number in range(THREADS)]:
            future.result()
    faults += contradictions(on.database_url)
    return {
        "threads": THREADS,
        "seconds on SQLite": seconds,
        "answers": dict(sorted(outcomes.items())),
        '"database is locked" to clients': sum("locked" in fault for fault in faults),
    }, faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=50, help="refreshes and revocations (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="on SQLite (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="leave the figures for docs/trust.md")
    options = parser.parse_args(arguments)
    with stage("postgres") as on:
        figures, faults = revoked_while_refreshed(on, options.pairs)
        faults += contradictions(on.database_url)
    status = conclude("revocations", figures, faults, is_recorded=options.record)
    with stage("sqlite") as on:
        figures, faults = crowded_file(on, options.seconds)
    return status | conclude("sqlite", figures, faults, is_recorded=options.record)


if __name__ == "__main__":
    sys.exit(main())
