"""Answers get lost: between server and client, and between database and server.

R-07   the answer to a refresh is lost one to five times in a row, after it was committed or before; the client tries
       again with the token it has, on whichever process, gets the one successor, and that works;
R-12   many clients refresh again and again and lose 2 % of the answers: nobody has to sign in again;
R-21   the connection to PostgreSQL is cut while a redemption or a rotation is committed, before, during or after: the
       client is told 503 with Retry-After, and may try again: nothing is doubled, nothing lost.

python -m tests.races.losses
python -m tests.races.losses --lost 10000 --clients 5000 --refreshes 20 --cuts 1000 --record

Exit status: 0 when every promise was kept, 1 when one was broken.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.races.connection import Answer, Connection
from tests.races.consistency import contradictions, count
from tests.races.parallel import each
from tests.races.results import Figures, conclude
from tests.races.stage import Minter, Stage, database, refresh_form, stage
from tests.races.wire import CUTS, Wire

LOSS = 0.02
#: The most times in a row that a client's answer is lost.
MOST_LOSSES = 5
#: No request is under way for longer: it has its turn within `one_at_a_time.QUEUE_SECONDS`, or is refused.
DONE_SECONDS = 3.0


class Losses:
    """Refreshes whose answers nobody reads."""

    def __init__(self, on: Stage) -> None:
        self._on = on
        self._gave_up_at: float | None = None

    def lose(self, replica: int, token: str, *, is_committed: bool) -> None:
        """A refresh hung up on when its answer has come, or as soon as it was asked."""
        connection = Connection(self._on.ports[replica % len(self._on.ports)])
        connection.send_only(self._on.post("/oauth/token", refresh_form(token)))
        if is_committed:
            connection.wait_for_answer()
        else:
            self._gave_up_at = time.monotonic()
        connection.close()

    def settle(self) -> None:
        """Returns when the server is done with all of them.

        A client gives up after seconds. Were it to use the successor while a request it gave up on still waits for its
        turn, that one would find a spent token whose successor was used: a theft, as far as anybody can tell (R-09).
        """
        if self._gave_up_at is not None:
            time.sleep(max(0.0, self._gave_up_at + DONE_SECONDS - time.monotonic()))
            self._gave_up_at = None


def lost_answers(on: Stage, clients: int) -> tuple[Figures, list[str]]:
    """R-07."""

    def story(number: int, minter: Minter) -> list[str]:
        token = minter.tokens()["refresh_token"]
        losses = Losses(on)
        for turn in range(1 + number % MOST_LOSSES):
            losses.lose(number + turn, token, is_committed=number % 3 != 0)
        answer = on.refresh(token, number)
        losses.settle()
        if answer.status != 200:
            return [f"the client that lost {1 + number % MOST_LOSSES} answers gets {answer.outcome}"]
        after = on.refresh(answer.members["refresh_token"], number + 1)
        return [] if after.status == 200 else [f"the successor answers {after.outcome}"]

    faults = each("client that lost answers", on, clients, story)
    return {"clients that lost their answer": clients, "that recovered": clients - len(faults)}, faults


def lossy_clients(on: Stage, clients: int, refreshes: int) -> tuple[Figures, list[str]]:
    """R-12."""
    lost, lock = [0], threading.Lock()

    def story(number: int, minter: Minter) -> list[str]:
        chance, losses = random.Random(number), Losses(on)
        token = minter.tokens()["refresh_token"]
        connection = Connection(on.ports[number % len(on.ports)])
        for turn in range(refreshes):
            while chance.random() < LOSS:
                losses.lose(number + turn, token, is_committed=chance.random() < 0.5)
                with lock:
                    lost[0] += 1
            answer = connection.exchange(on.post("/oauth/token", refresh_form(token)))
            losses.settle()
            if answer.status != 200:
                return [f"after {turn} refreshes: {answer.outcome}"]
            token = str(answer.members["refresh_token"])
        connection.close()
        return []

    faults = each("lossy client", on, clients, story)
    figures: Figures = {"lossy clients": clients, "refreshes of each": refreshes, "answers lost": lost[0]}
    return figures | {"forced to sign in again": len(faults)}, faults


def _ask_patiently(on: Stage, form: dict[str, str]) -> Answer:
    """Until it is neither lost nor 503; the database is there, the server only has to notice."""
    deadline = time.monotonic() + 10
    while True:
        answer = on.ask("/oauth/token", form)
        if answer.status not in {0, 503} or time.monotonic() > deadline:
            return answer
        time.sleep(0.02)


def _judge_retry(on: Stage, form: dict[str, str], answer: Answer) -> list[str]:
    """What a client may expect that asks again after a 503."""
    if "code" not in form:
        if answer.status != 200:
            return [f"a refresh after a cut answers {answer.outcome}"]
        after = _ask_patiently(on, refresh_form(answer.members["refresh_token"]))
        return [] if after.status == 200 else [f"the successor after a cut answers {after.outcome}"]
    digest = hashlib.sha256(form["code"].encode()).hexdigest()
    query = (
        "SELECT COUNT(*) FROM grants g JOIN authorization_codes c ON c.grant_id = g.id"
        f" WHERE c.code_digest = '{digest}' AND g.revoked_at IS NOT NULL"
    )
    is_revoked = count(on.database_url, query) == 1
    is_kept = answer.status == 200 and not is_revoked
    is_refused = answer.outcome == "400 invalid_grant" and is_revoked
    return [] if is_kept or is_refused else [f"a code after a cut answers {answer.outcome}, revoked: {is_revoked}"]


def cut_commits(on: Stage, wire: Wire, cuts: int) -> tuple[Figures, list[str]]:
    """R-21; one at a time, so that the cut meets the request it is meant for."""
    told: collections.Counter[str] = collections.Counter()

    def story(number: int, minter: Minter) -> list[str]:
        form = minter.code() if number % 2 else refresh_form(minter.tokens()["refresh_token"])
        how = CUTS[number // 2 % len(CUTS)]
        wire.arm(how)
        answer = on.ask("/oauth/token", form)
        if not wire.disarm():
            return [f"nothing was cut, {answer.outcome}"]
        told[answer.outcome] += 1
        faults = []
        if answer.status != 503 or not answer.header("retry-after"):
            faults.append(f"cut {how} the commit: {answer.outcome}, Retry-After {answer.header('retry-after')!r}")
        return faults + _judge_retry(on, form, _ask_patiently(on, form))

    faults = each("cut", on, cuts, story, threads=1)
    return {"cuts during COMMIT": cuts, "answers": dict(told), "doubled or lost": len(faults)}, faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lost", type=int, default=60, help="clients that lose answers (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=30, help="lossy clients (default: %(default)s)")
    parser.add_argument("--refreshes", type=int, default=20, help="of each lossy client (default: %(default)s)")
    parser.add_argument("--cuts", type=int, default=24, help="of the database's connection (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="leave the figures for docs/trust.md")
    options = parser.parse_args(arguments)
    with stage("postgres") as on:
        figures, faults = lost_answers(on, options.lost)
        more, found = lossy_clients(on, options.clients, options.refreshes)
        figures, faults = figures | more, faults + found + contradictions(on.database_url)
    status = conclude("lost-answers", figures, faults, is_recorded=options.record)
    with cut_stage() as (on, wire):
        figures, faults = cut_commits(on, wire, options.cuts)
        faults += contradictions(on.database_url)
    return status | conclude("cut-commits", figures, faults, is_recorded=options.record)


@contextlib.contextmanager
def cut_stage(database_url: str | None = None) -> Iterator[tuple[Stage, Wire]]:
    """One process whose connections to PostgreSQL run through a wire."""
    with ExitStack() as stack:
        wire = Wire(stack.enter_context(database("postgres", Path(), database_url)))
        stack.callback(wire.close)
        yield stack.enter_context(stage("postgres", replicas=1, database_url=wire.database_url)), wire


if __name__ == "__main__":
    sys.exit(main())
