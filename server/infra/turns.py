"""Whose turn it is: a worker serves one request at a time, and a request that waits for something else steps aside.

Passwords are hashed in a thread of their own. While it works, the request that asked for the hash would keep all others
waiting; instead it gives its turn away and takes the next free one when the hash is there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_turn: ContextVar[threading.Lock | None] = ContextVar("turn", default=None)


@contextmanager
def turn(gate: threading.Lock, patience: float = -1) -> Iterator[None]:
    """Waits for the gate, for ever or `patience` seconds, and holds it until the context ends.

    Raises:
        TimeoutError: when the turn did not come in time.
    """
    if not gate.acquire(timeout=patience):
        raise TimeoutError
    token = _turn.set(gate)
    try:
        yield
    finally:
        _turn.reset(token)
        gate.release()


@contextmanager
def stepping_aside() -> Iterator[None]:
    """Lets others have the turn until the context ends; without a turn nothing happens.

    Whoever steps aside holds no transaction: what comes after waits for a turn, and others would wait for its locks.
    """
    gate = _turn.get()
    if gate is None:
        yield
        return
    gate.release()
    try:
        yield
    finally:
        gate.acquire()
