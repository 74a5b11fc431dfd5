"""Which CPU cores this process may use, and keeping a worker to one of them (Linux; elsewhere the system decides).

A request passes two or three threads of its worker, and all of them want the same interpreter. Where the system spreads
them over cores, each hand-over moves their memory from one core's cache to another's, which costs more than the request
itself (`docs/adr/0020-each-worker-keeps-to-a-core.md`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

#: The cores of this process before it kept to one.
_before: frozenset[int] | None = None


def usable_cores() -> list[int]:
    """The numbers of the cores that this process may use, or might before it kept to one; all, if nothing tells."""
    if _before is not None:
        return sorted(_before)
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    return sorted(os.sched_getaffinity(0))


def core_of(worker: int, workers: int) -> int | None:
    """The core that worker number `worker`, from 0, keeps to; None where there are fewer workers than cores.

    With a worker for each core all are loaded alike, whatever else runs on the machine. Fewer workers of several
    servers would meet on the same cores while others lie idle.
    """
    cores = usable_cores()
    return cores[worker % len(cores)] if workers >= len(cores) and hasattr(os, "sched_setaffinity") else None


def keep_to(core: int) -> None:
    """Has this thread, and all it starts from now on, run on that core only."""
    global _before
    _before = frozenset(usable_cores())
    _run_on({core})


def roam() -> None:
    """Lets this thread run wherever the process might before: it works long, and leaves the core to others."""
    if _before is not None:
        _run_on(_before)


def _run_on(cores: Iterable[int]) -> None:
    # Sandboxes may forbid it, and an operator may take the core away meanwhile: it is faster, not needed.
    with suppress(OSError):
        os.sched_setaffinity(0, cores)
