"""Group commit: what several requests write at the same time is one transaction, synced to the disk once.

Each commit waits for the disk. On SQLite it writes a dozen pages besides, mostly the same ones for each of several
requests at once; on PostgreSQL it wakes a process up. So whoever comes to write while others wait for their turn
(`infra/turns.py`) steps aside for a moment as the leader of a group. Who comes to write in that moment leaves a job and
waits; then the leader writes all of it in one transaction, and nobody goes on before that is committed. A request that
is alone waits for nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from sqlalchemy.exc import OperationalError

from server.infra.turns import others_wait, stepping_aside
from server.infra.write_lock import is_held

#: What a commit takes on a good disk: a leader waits no longer for others than they would for the leader.
_GATHER_SECONDS: Final = 0.0005
#: How long a leader keeps the turn while it waits for the database's lock, which other processes have for a commit or
#: two. Then it lets others pass, and asks again.
_LOCK_SECONDS: Final = 0.02

Brought = TypeVar("Brought")
Written = TypeVar("Written")


class GroupCommit(Generic[Brought, Written]):
    """The groups of one process; any thread may bring what is to be written."""

    def __init__(self, write: Callable[[Sequence[Brought], float], Sequence[Written]], patience: float) -> None:
        """Makes one that is idle.

        Args:
            write: writes all that was brought in one transaction, waiting so many seconds for others who write, and
                returns what came of each; on an error nothing was written.
            patience: for how many seconds in all a leader waits for others who write.
        """
        self._write = write
        self._patience = patience
        self._lock = threading.Lock()
        #: The group that takes members; None while no leader gathers one.
        self._gathering: list[_Job[Brought, Written]] | None = None

    def run(self, brought: Brought) -> Written:
        """Writes what one request brings; returns what came of it, committed.

        It may be written in another request's thread, and twice if the first time was rolled back.

        Raises:
            OperationalError: when the database does not answer; then nothing of the whole group was written.
        """
        mine: _Job[Brought, Written] = _Job(brought)
        if self._joins(mine):
            with stepping_aside():
                mine.wait()
        else:
            self._lead([mine])
        return mine.outcome()

    def _joins(self, job: _Job[Brought, Written]) -> bool:
        with self._lock:
            if self._gathering is not None:
                self._gathering.append(job)
            return self._gathering is not None

    def _lead(self, group: list[_Job[Brought, Written]]) -> None:
        deadline = time.monotonic() + self._patience
        if others_wait():
            self._gather(group)
        error = self._commit(group, _LOCK_SECONDS)
        while is_held(error) and time.monotonic() < deadline:
            self._gather(group)
            error = self._commit(group, _LOCK_SECONDS)
        for job in group:
            job.end(error)

    def _gather(self, group: list[_Job[Brought, Written]]) -> None:
        """Lets others pass for a moment, and takes those who come to write."""
        with self._lock:
            if self._gathering is None:
                self._gathering = group
        with stepping_aside():
            time.sleep(_GATHER_SECONDS)
        with self._lock:
            if self._gathering is group:
                self._gathering = None

    def _commit(self, group: list[_Job[Brought, Written]], patience: float) -> BaseException | None:
        """Writes what all have brought; returns what kept it all from being written."""
        try:
            written = self._write([job.brought for job in group], patience)
        except BaseException as error:  # noqa: BLE001  # whoever brought the job raises it
            if len(group) == 1 or isinstance(error, OperationalError):
                return error
            # What one of them brought cannot be written: no fault of the others.
            for job in group:
                job.error = self._commit([job], self._patience)
            return None
        for job, result in zip(group, written, strict=True):
            job.written = [result]
        return None


class _Job(Generic[Brought, Written]):
    """What one request wants written, and what became of it."""

    def __init__(self, brought: Brought) -> None:
        self.brought = brought
        #: What came of it, once it is committed.
        self.written: list[Written] = []
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

    def outcome(self) -> Written:
        if self.error is not None:
            raise self.error
        return self.written[0]
