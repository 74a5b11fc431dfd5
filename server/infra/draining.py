"""Whether this server is about to end: said by the main process, seen by its workers through memory they share.

Load balancers look at `/readyz` before they stop sending; a server that only closed its listener would refuse whoever
comes in between.
"""

from __future__ import annotations

import ctypes
import time
from multiprocessing.sharedctypes import RawValue
from typing import Final, TypeAlias

_LOOK_SECONDS: Final = 0.1
#: When the end was announced, by the monotonic clock that all processes of a machine share; 0 before.
Flag: TypeAlias = ctypes.c_double

_flag: Flag | None = None


def make_flag() -> Flag:
    """The memory to share; made by the main process before its workers."""
    flag: Flag = RawValue(ctypes.c_double, 0.0)
    adopt(flag)
    return flag


def adopt(flag: Flag | None) -> None:
    """Makes this process look at `flag`; a worker that was not forked does not have it by itself."""
    global _flag
    _flag = flag


def announce() -> None:
    """Tells every process that looks at the flag."""
    if _flag is not None:
        _flag.value = time.monotonic()


def is_draining() -> bool:
    """Whether the end was announced; never where there is no flag."""
    return announced_at() > 0


def announced_at() -> float:
    """When the end was announced, in `time.monotonic()` seconds; 0 when it was not."""
    return _flag.value if _flag is not None else 0.0


def wait(seconds: float) -> None:
    """Returns so many seconds after the end was announced.

    Looks now and then: a lock that processes share would outlive a killed holder.
    """
    while not is_draining():
        time.sleep(_LOOK_SECONDS)
    time.sleep(max(0.0, announced_at() + seconds - time.monotonic()))
