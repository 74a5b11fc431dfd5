"""What the way out needs of the network: names resolved, and answers received, within one deadline and one size."""

from __future__ import annotations

import io
import ipaddress
import math
import queue
import socket
import threading
import time
from typing import Any, Final

from server.infra.outbound_addresses import Address

#: Lookups at a time; one that is not answered lasts as long as the system's resolver likes.
_LOOKUPS: Final = threading.BoundedSemaphore(64)


class Deadline:
    """The moment by which everything about one fetch has to be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, at_most: float = math.inf) -> float:
        """The seconds left, or `at_most` so many.

        Raises:
            TimeoutError: when none are.
        """
        seconds = min(self._end - time.monotonic(), at_most)
        if seconds <= 0:
            raise TimeoutError("the time for this fetch is up")
        return seconds


def resolve(host: str, port: int, patience: float) -> list[Address]:
    """All addresses that a name has now, in the order in which the system would try them.

    The lookup has a thread of its own, as nothing can interrupt it.

    Raises:
        OSError: when there is none, or not in time.
        ValueError: when it is no name at all.
    """
    if not _LOOKUPS.acquire(timeout=patience):
        raise TimeoutError("too many names are being looked up")
    answers: queue.SimpleQueue[list[Address] | OSError | ValueError] = queue.SimpleQueue()
    threading.Thread(target=_look_up, args=(host, port, answers), name="lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=patience)
    except queue.Empty:
        raise TimeoutError("the name was not resolved in time") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _look_up(host: str, port: int, answers: queue.SimpleQueue[list[Address] | OSError | ValueError]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        answers.put([ipaddress.ip_address(name) for name in dict.fromkeys(str(entry[4][0]) for entry in found)])
    except (OSError, ValueError) as error:
        answers.put(error)
    finally:
        _LOOKUPS.release()


class Received(io.RawIOBase):
    """What a socket receives: only so many bytes, and only until so late.

    A timeout of the socket's own begins anew with every byte that trickles in.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline, maximum: int) -> None:
        super().__init__()
        self._socket, self._deadline, self._left = sock, deadline, maximum
        # It keeps the socket open after its connection has let it go.
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receives what fits; nothing more at the end.

        Raises:
            OSError: when it is too late, or too much.
        """
        self._socket.settimeout(self._deadline.left())
        count = self._raw.readinto(buffer) or 0
        self._left -= count
        if self._left < 0:
            raise OSError("the answer is too long")
        return count

    def close(self) -> None:
        """Lets the socket go."""
        self._raw.close()
        super().close()
