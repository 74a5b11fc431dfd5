"""Ports for the servers of the tests, each handed out once: two test processes on one machine never get the same one.

They lie below the range from which the kernel takes the ports of outgoing connections and of whoever binds port 0, so
that nobody takes one between the moment it is handed out and the moment its server listens, seconds later.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST_OF_THE_KERNEL = 32768
_COUNT = 12_000

#: What this process was given; it keeps them until it ends.
_OURS: set[int] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens, and which is handed to nobody else as long as we run."""
    end = _end()
    start = random.randrange(_COUNT)
    for number in range(_COUNT):
        port = end - 1 - (start + number) % _COUNT
        if port not in _OURS and _is_reserved(port) and _is_free(port):
            return port
    raise OSError(f"no port from {end - _COUNT} to {end - 1} is free")


@cache
def _end() -> int:
    """The first port that the kernel hands out itself."""
    with suppress(OSError):
        return int(_RANGE.read_text().split()[0]) if _RANGE.exists() else _LOWEST_OF_THE_KERNEL
    return _LOWEST_OF_THE_KERNEL


@cache
def _reservations() -> IO[bytes]:
    """A file whose bytes stand for ports. Its locks end with the process that has them, whatever becomes of it."""
    return (Path(tempfile.gettempdir()) / f"gatepost-test-ports-{os.getuid()}").open("ab")


def _is_reserved(port: int) -> bool:
    """Reserves the port; False when another process has it."""
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _OURS.add(port)
    return True


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
