"""Workers that share in memory what they have loaded, under a main process that has loaded none of it (Linux).

Forked workers share pages until one of them writes to a page, if only to count a reference. A main process that had
loaded the application would keep the original of each such page, which nobody reads. So a short-lived process loads it,
forks the workers and ends; the kernel gives them to the main process.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import select
import signal
import sys
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawValue
from typing import Any, Final

from server.infra import memory

#: Linux's number for it, of sys/prctl.h.
_PR_SET_CHILD_SUBREAPER: Final = 36


class Ward:
    """A worker as its main process knows it: the part of `multiprocessing.Process` that granian asks for."""

    def __init__(self, run: Callable[[], None], load: Callable[[], object]) -> None:
        self.pid: int | None = None
        self.run, self.load = run, load
        self._handle: int | None = None

    def start(self) -> None:
        """Brings it up, unless `bring_up` has done so with others."""
        if self.pid is None:
            bring_up([self])

    def adopt(self, pid: int) -> None:
        """Takes the process as this one's child."""
        self.pid = pid
        self._handle = os.pidfd_open(pid)
        weakref.finalize(self, os.close, self._handle)

    def join(self, timeout: float | None = None) -> None:
        """Returns when it has ended, or after so many seconds; several threads may wait."""
        handle = self._handle
        if handle is not None and _has_ended(handle, timeout):
            with suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._handle is not None and not _has_ended(self._handle, 0)

    def terminate(self) -> None:
        """Asks it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)


def _has_ended(handle: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def open_nursery() -> bool:
    """Makes this process the one that orphans below it are given to; False where the system cannot."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    refused: int = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return refused == 0


def bring_up(wards: Sequence[Ward]) -> None:
    """Loads once and forks them all; those that were not brought up are as if they had ended."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    is_complete = RawValue(ctypes.c_bool, False)
    nurse = multiprocessing.get_context("fork").Process(target=_nurse, args=(wards, sender, is_complete))
    nurse.start()
    nurse.join()
    with receiver, sender:
        for ward in wards:
            if receiver.poll():
                ward.adopt(receiver.recv())


def _nurse(wards: Sequence[Ward], sender: Connection, is_complete: Any) -> None:
    wards[0].load()
    # What the garbage collector never moves, and the allocator does not hand out anew, stays shared.
    gc.collect()
    gc.freeze()
    memory.give_back()
    context, own_handle = multiprocessing.get_context("fork"), os.pidfd_open(os.getpid())
    for ward in wards:
        worker = context.Process(target=_live, args=(ward.run, own_handle, is_complete), name="worker")
        worker.start()
        sender.send(worker.pid)
    is_complete.value = True
    # An orderly exit would wait for the workers.
    os._exit(0)


def _live(run: Callable[[], None], nurse: int, is_complete: Any) -> None:
    _has_ended(nurse, None)
    os.close(nurse)
    # When the nurse was killed, the main process may not know this worker.
    if is_complete.value:
        run()
