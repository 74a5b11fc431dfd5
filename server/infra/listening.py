"""Ends a listener without losing a connection: the kernel takes no new ones while those in its queue are served.

Closing a listener resets whatever has connected and was not accepted yet. The other side has sent its request by then,
cannot know whether somebody acted on it, and rightly does not send a POST twice. A connection that could not be opened
at all is tried elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

#: Linux's number for it; Python's socket module has no name for it.
_SO_ATTACH_FILTER: Final = 26
_PASS: Final = 0xFFFFFFFF
#: A classic BPF program over the TCP header: a SYN without an ACK is dropped, every other segment passes.
_NO_NEW_CONNECTIONS: Final = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte that holds the flags
        (0x54, 0, 0, 0x12),  # of which SYN and ACK
        (0x15, 0, 1, 0x02),  # SYN alone: the next instruction; otherwise the one after it
        (0x06, 0, 0, 0),
        (0x06, 0, 0, _PASS),
    )
)
_INSTRUCTION_BYTES: Final = 8


def refuse_new_connections(port: int) -> int:
    """Has every listener of this process on TCP `port` take no new connections; those begun come through.

    Returns how many listeners that were: none where this is not Linux, or the kernel does not know such filters.
    """
    if sys.platform != "linux":
        return 0
    program = ctypes.create_string_buffer(_NO_NEW_CONNECTIONS, len(_NO_NEW_CONNECTIONS))
    # struct sock_fprog, with the padding that the compiler puts before its pointer.
    argument = struct.pack("HP", len(_NO_NEW_CONNECTIONS) // _INSTRUCTION_BYTES, ctypes.addressof(program))
    refusing = 0
    for listener in _listeners(port):
        with closing(listener):
            try:
                listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, argument)
            except OSError:
                # Some sandboxes have no filters. The listener then ends as it would have without this.
                continue
            refusing += 1
    return refusing


def _listeners(port: int) -> Iterator[socket.socket]:
    """Copies of this process's sockets that listen on `port`; granian opens them and does not show them."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if not stat.S_ISSOCK(Path("/proc/self/fd", name).stat().st_mode):
                continue
            candidate = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue  # closed meanwhile by another thread
        if _listens_on(candidate, port):
            yield candidate
        else:
            candidate.close()


def _listens_on(candidate: socket.socket, port: int) -> bool:
    try:
        return (
            candidate.family in {socket.AF_INET, socket.AF_INET6}
            and bool(candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            and candidate.getsockname()[1] == port
        )
    except OSError:
        return False
