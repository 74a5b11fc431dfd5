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

#: What a commit takes on a good disk: a leader waits no longer for others than they would for the leader.
_GATHER_SECONDS: Final = 0.0005

Result = TypeVar("Result")


class GroupCommit:
    """The groups of one process; any thread may bring a job."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[object]]) -> None:
        """Args: transaction: begins one; its context commits it at its end, and rolls it back on an error."""
        self._transaction = transaction
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
        group = self._group_led_by(mine)
        if group is None:
            with stepping_aside():
                mine.wait()
        else:
            self._gather(group)
            self._commit(group)
        mine.raise_error()
        return results[-1]

    def _group_led_by(self, job: _Job) -> list[_Job] | None:
        """None when it became a member of a group that gathers already."""
        with self._lock:
            if self._gathering is not None:
                self._gathering.append(job)
                return None
            group = [job]
            if others_wait():
                self._gathering = group
            return group

    def _gather(self, group: list[_Job]) -> None:
        if group is self._gathering:
            with stepping_aside():
                time.sleep(_GATHER_SECONDS)
            with self._lock:
                self._gathering = None

    def _commit(self, group: list[_Job]) -> None:
        try:
            with self._transaction():
                for job in group:
                    job.run()
        except BaseException as error:  # noqa: BLE001  # whoever brought the job raises it
            if len(group) > 1 and not isinstance(error, OperationalError):
                # What one of them brought cannot be written: no fault of the others.
                for job in group:
                    self._commit([job])
                return
            for job in group:
                job.error = error
        for job in group:
            job.end()


class _Job:
    """What one request wants written, and what became of it."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run
        self.error: BaseException | None = None
        #: A lock, as an Event costs ten times as much.
        self._under_way = threading.Lock()
        self._under_way.acquire()

    def end(self) -> None:
        self._under_way.release()

    def wait(self) -> None:
        self._under_way.acquire()

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error
