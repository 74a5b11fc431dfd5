"""Processes are killed with SIGKILL, at any moment, while clients redeem codes and use refresh tokens (R-03).

A killer ends a random worker every 0.02 to 0.9 seconds, and now and then a whole server with its parent, which is then
started again. Eight clients go on meanwhile, each with families of its own, and hold the server to what was promised:

* a client whose answer to a refresh was lost tries again, on whichever process answers, with the same token, and gets
  the successor; it is never asked to sign in again;
* a code whose answer was lost is tried again once: it gives its tokens if it had not given them, and is refused, with
  whatever it gave revoked, if it had (RFC 6749 §4.1.2);
* an answer that arrived is kept: what it gave works afterwards.

Afterwards the database holds no row that contradicts another (see `consistency.py`), and the audit log's chain holds.

python -m tests.races.kills --kills 50
python -m tests.races.kills --kills 1000 --record
python -m tests.races.kills --kills 100 --database sqlite --record

Exit status: 0 when every promise was kept, 1 when one was broken.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from tests.races.connection import Answer, Connection
from tests.races.consistency import contradictions
from tests.races.progress import Progress
from tests.races.results import Figures, conclude
from tests.races.stage import Minter, Stage, kill, launch, refresh_form, stage, worker_pids
from tests.support.servers import Server, ServerFailed

CLIENTS = 8
WORKERS = 2
#: One in so many kills takes the whole server.
WHOLE_SERVER = 12
PAUSES = (0.02, 0.9)
#: How long a client goes on trying; shorter than the replay window of 30 seconds.
PATIENCE_SECONDS = 25.0
#: Refreshes of one family before the client takes a new code.
FAMILY = 10


@dataclass
class Record:
    """What the clients saw; `faults` lists every broken promise in words."""

    codes: int = 0
    codes_refused_after_a_lost_answer: int = 0
    refreshes: int = 0
    lost_answers: int = 0
    recovered: int = 0
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, name: str) -> None:
        """One more of a figure."""
        with self.lock:
            setattr(self, name, getattr(self, name) + 1)

    def fault(self, sentence: str) -> None:
        """A promise was broken."""
        with self.lock:
            self.faults.append(sentence)


class Client(threading.Thread):
    """Redeems codes and uses refresh tokens until told to stop."""

    def __init__(self, on: Stage, minter: Minter, record: Record, stopped: threading.Event) -> None:
        super().__init__(daemon=True)
        self._on, self._minter, self._record, self._stopped = on, minter.copy(), record, stopped
        self._connections = [Connection(port, timeout=10) for port in on.ports]
        self._turn = random.randrange(len(on.ports))

    def run(self) -> None:
        """The thread's work."""
        try:
            while not self._stopped.is_set():
                self._one_family()
        except (RuntimeError, KeyError, OSError) as error:
            self._record.fault(f"a client gave up: {error!r}")

    def _one_family(self) -> None:
        form = self._minter.code()
        answer, lost = self._persist(form)
        if answer.status == 200:
            self._record.count("codes")
        elif lost and answer.outcome == "400 invalid_grant":
            self._record.count("codes_refused_after_a_lost_answer")
            return
        else:
            self._record.fault(f"a code after {lost} lost answers: {answer.outcome}")
            return
        for _ in range(FAMILY):
            if self._stopped.is_set():
                return
            token = str(answer.members["refresh_token"])
            answer, lost = self._persist(refresh_form(token))
            if answer.status != 200:
                self._record.fault(f"forced to sign in again after {lost} lost answers: {answer.outcome}")
                return
            self._record.count("refreshes")
            if lost:
                self._record.count("recovered")

    def _persist(self, form: dict[str, str]) -> tuple[Answer, int]:
        """Posts until an answer comes that is neither lost nor a 503; with how many were lost."""
        message, lost = self._on.post("/oauth/token", form), 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        answer = Answer(0, b"")
        while time.monotonic() < deadline:
            self._turn = (self._turn + 1) % len(self._connections)
            answer = self._connections[self._turn].exchange(message)
            with self._record.lock:
                self._record.outcomes[answer.outcome] += 1
            if answer.status == 0:
                was_sent = b"refused" not in answer.body
                lost += was_sent
                if was_sent:
                    self._record.count("lost_answers")
                time.sleep(0.01)
            elif answer.status == 503:
                time.sleep(0.1)
            else:
                return answer, lost
        return answer, lost


class Killer:
    """Kills workers and servers, and starts servers again that ended."""

    def __init__(self, on: Stage, seed: int) -> None:
        self._on, self._random = on, random.Random(seed)
        self._starting = ThreadPoolExecutor(len(on.servers))
        self._being_started: set[int] = set()
        self.workers = self.servers = self.restarts = 0

    @property
    def kills(self) -> int:
        """How many so far."""
        return self.workers + self.servers

    def strike(self) -> bool:
        """Kills one, and sees that what ended comes back. False when there was nobody to kill."""
        self._start_what_ended()
        server = self._random.choice(self._on.servers)
        if server.port in self._being_started:
            return False
        if self._random.randrange(WHOLE_SERVER) == 0:
            with suppress(ProcessLookupError):
                os.killpg(server.process.pid, signal.SIGKILL)
            self.servers += 1
            return True
        pids = worker_pids(server)
        if pids and kill(self._random.choice(pids)):
            self.workers += 1
            return True
        return False

    def _start_what_ended(self) -> None:
        for server in self._on.servers:
            if server.process.poll() is not None and server.port not in self._being_started:
                self._being_started.add(server.port)
                self._starting.submit(self._start, server)

    def _start(self, server: Server) -> None:
        # What the parent left behind would keep the port.
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)
        try:
            launch(server, WORKERS)
            self.restarts += 1
        except ServerFailed:
            # The next strike finds it ended and starts it anew.
            pass
        finally:
            self._being_started.discard(server.port)

    def finish(self) -> None:
        """Returns when every server runs again."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self._start_what_ended()
            if not self._being_started and all(server.process.poll() is None for server in self._on.servers):
                break
            time.sleep(0.1)
        self._starting.shutdown()


def _audit_faults(server: Server) -> list[str]:
    command = [*server.program, "audit", "verify"]
    finished = subprocess.run(command, cwd=server.directory, env=server.environment, capture_output=True, text=True)
    return [f"the audit log: {finished.stderr}"] if finished.returncode else []


def run(on: Stage, kills: int, seed: int) -> tuple[Figures, list[str]]:
    """Kills while clients go on; returns the figures and every broken promise."""
    record, stopped = Record(), threading.Event()
    minter = Minter(on)
    clients = [Client(on, minter, record, stopped) for _ in range(CLIENTS)]
    killer, pauses = Killer(on, seed), random.Random(seed)
    progress = Progress("kills", kills)
    for client in clients:
        client.start()
    while progress.done < kills:
        time.sleep(pauses.uniform(*PAUSES))
        if killer.strike():
            progress.step(f"({record.codes} codes, {record.refreshes} refreshes, {record.lost_answers} answers lost)")
    seconds = progress.seconds
    killer.finish()
    stopped.set()
    for client in clients:
        client.join(PATIENCE_SECONDS + 10)
    faults = record.faults + contradictions(on.database_url)
    faults += _audit_faults(on.servers[0])
    others = [name for name in record.outcomes if name[0] == "5" and not name.startswith("503")]
    faults += [f"{record.outcomes[name]} × {name}" for name in others]
    return {
        "kills": killer.kills,
        "of single workers": killer.workers,
        "of whole servers": killer.servers,
        "servers started again": killer.restarts,
        "codes redeemed": record.codes,
        "refreshes": record.refreshes,
        "answers lost": record.lost_answers,
        "refreshes recovered after a lost answer": record.recovered,
        "codes refused after their answer was lost": record.codes_refused_after_a_lost_answer,
        "inconsistent rows or broken promises": len(faults),
        "seconds": round(seconds, 1),
    }, faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--replicas", type=int, default=3, help="servers of two workers each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the killer's choices (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="leave the figures for docs/trust.md")
    options = parser.parse_args(arguments)
    with stage(options.database, replicas=options.replicas, workers=WORKERS) as on:
        figures, faults = run(on, options.kills, options.seed)
    return conclude(f"kills-{options.database}", figures, faults, is_recorded=options.record)


if __name__ == "__main__":
    sys.exit(main())
