"""Group commit: what several requests write at the same time is one transaction, synced to the disk once.

Each commit on SQLite writes a dozen pages and waits for the disk, and of several requests at once each writes mostly
the same pages. So whoever comes to write while others wait for their turn (`infra/turns.py`) steps aside for a moment
as the leader of a group. Who comes to write in that moment leaves a job and waits; then the leader runs all jobs in
one transaction, and nobody goes on before it is committed. A request that is alone waits for nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, TypeVar

from sqlalchemy.exc import OperationalError

from server.infra.turns import others_wait, stepping_aside
from server.infra.write_lock import is_held

#: What a commit takes on a good disk: a leader waits no longer for others than they would for the leader.
_GATHER_SECONDS: Final = 0.0005
#: How long a leader keeps the turn while it waits for the database's lock, which other processes have for a commit or
#: two. Then it lets others pass, and asks again.
_LOCK_SECONDS: Final = 0.02

Result = TypeVar("Result")


class GroupCommit:
    """The groups of one process; any thread may bring a job."""

    def __init__(self, transaction: Callable[[float], AbstractContextManager[object]], patience: float) -> None:
        """Makes one that is idle.

        Args:
            transaction: begins one, waiting so many seconds for others who write; at its end its context commits it,
                and rolls it back on an error.
            patience: for how many seconds in all a leader waits for others who write.
        """
        self._transaction = transaction
        self._patience = patience
        self._lock = threading.Lock()
        #: The group that takes members; None while no leader gathers one.
        self._gathering: list[_Job] | None = None

    def run(self, statements: Callable[[], Result]) -> Result:
        """Runs the statements of one request in a transaction; returns what they return, committed.

        They may run twice, and in another request's thread: they change nothing but the database.

        Raises:
            OperationalError: when the database does not answer; then nothing of the whole group was written.
        """
        results: list[Result] = []
        mine = _Job(lambda: results.append(statements()))
        if self._joins(mine):
            with stepping_aside():
                mine.wait()
        else:
            self._lead([mine])
        mine.raise_error()
        return results[-1]

    def _joins(self, job: _Job) -> bool:
        with self._lock:
            if self._gathering is not None:
                self._gathering.append(job)
            return self._gathering is not None

    def _lead(self, group: list[_Job]) -> None:
        deadline = time.monotonic() + self._patience
        if others_wait():
            self._gather(group)
        error = self._commit(group, _LOCK_SECONDS)
        while is_held(error) and time.monotonic() < deadline:
            self._gather(group)
            error = self._commit(group, _LOCK_SECONDS)
        for job in group:
            job.end(error)

    def _gather(self, group: list[_Job]) -> None:
        """Lets others pass for a moment, and takes those who come to write."""
        with self._lock:
            if self._gathering is None:
                self._gathering = group
        with stepping_aside():
            time.sleep(_GATHER_SECONDS)
        with self._lock:
            if self._gathering is group:
                self._gathering = None

    def _commit(self, group: list[_Job], patience: float) -> BaseException | None:
        """Runs all jobs; returns what kept them all from being written."""
        try:
            with self._transaction(patience):
                for job in group:
                    job.run()
        except BaseException as error:  # noqa: BLE001  # whoever brought the job raises it
            if len(group) == 1 or isinstance(error, OperationalError):
                return error
            # What one of them brought cannot be written: no fault of the others.
            for job in group:
                job.error = self._commit([job], self._patience)
        return None


class _Job:
    """What one request wants written, and what became of it."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run
        self.error: BaseException | None = None
        #: A lock, as an Event costs ten times as much.
        self._under_way = threading.Lock()
        self._under_way.acquire()

    def end(self, error: BaseException | None) -> None:
        """Lets the request go on; `error` is the whole group's, beside its own."""
        self.error = error or self.error
        self._under_way.release()

    def wait(self) -> None:
        self._under_way.acquire()

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error
