"""Whose turn it is: a worker serves one request at a time, and a request that waits for something else steps aside.

Passwords are hashed in a thread of their own. While it works, the request that asked for the hash would keep all others
waiting; instead it gives its turn away and takes the next free one when the hash is there. Whoever writes together with
others does so too (`infra/group_commit.py`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_turn: ContextVar[Gate | None] = ContextVar("turn", default=None)


class Gate:
    """What one at a time passes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: One element for each that waits: unlike a number, a deque may be changed by several threads.
        self._waiting: deque[None] = deque()

    @property
    def waiting(self) -> int:
        """How many wait to pass."""
        return len(self._waiting)

    def enter(self, patience: float = -1) -> bool:
        """Waits for ever or `patience` seconds; whether the turn came in time."""
        if self._lock.acquire(blocking=False):
            return True
        self._waiting.append(None)
        try:
            return self._lock.acquire(timeout=patience)
        finally:
            self._waiting.pop()

    def leave(self) -> None:
        """Gives the turn to somebody else."""
        self._lock.release()


@contextmanager
def turn(gate: Gate, patience: float = -1) -> Iterator[None]:
    """Waits for the gate, for ever or `patience` seconds, and holds it until the context ends.

    Raises:
        TimeoutError: when the turn did not come in time.
    """
    if not gate.enter(patience):
        raise TimeoutError
    token = _turn.set(gate)
    try:
        yield
    finally:
        _turn.reset(token)
        gate.leave()


@contextmanager
def stepping_aside() -> Iterator[None]:
    """Lets others have the turn until the context ends; without a turn nothing happens.

    Whoever steps aside holds no transaction: what comes after waits for a turn, and others would wait for its locks.
    """
    gate = _turn.get()
    if gate is None:
        yield
        return
    gate.leave()
    try:
        yield
    finally:
        gate.enter()


def others_wait() -> bool:
    """Whether somebody waits for the turn that this request has; without a turn nobody does."""
    gate = _turn.get()
    return gate is not None and gate.waiting > 0
