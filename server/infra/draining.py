"""Whether this server is about to end: said by the main process, seen by its workers through memory they share.

Load balancers look at `/readyz` before they stop sending; a server that only closed its listener would refuse whoever
comes in between.
"""

from __future__ import annotations

import ctypes
from multiprocessing.sharedctypes import RawValue
from typing import TypeAlias

Flag: TypeAlias = ctypes.c_bool

_flag: Flag | None = None


def make_flag() -> Flag:
    """The memory to share; made by the main process before its workers."""
    flag: Flag = RawValue(ctypes.c_bool, False)
    adopt(flag)
    return flag


def adopt(flag: Flag | None) -> None:
    """Makes this process look at `flag`; a worker that was not forked does not have it by itself."""
    global _flag
    _flag = flag


def announce() -> None:
    """Tells every process that looks at the flag."""
    if _flag is not None:
        _flag.value = True


def is_draining() -> bool:
    """Whether the end was announced; never where there is no flag."""
    return _flag is not None and _flag.value
