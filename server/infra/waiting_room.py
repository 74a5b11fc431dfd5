"""How many requests wait for other people's servers: a few, however many would, for each keeps a thread of ours.

A server that never answers would otherwise hold every thread there is, five seconds at a time, and whoever asks for
something else would wait for one to come free.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from server.infra.fetch_payer import FetchPostponed, Payer

#: Of each of the four accounts, and for one client in it.
PLACES: Final = 32
PLACES_PER_CLIENT: Final = 16


class WaitingRoom:
    """The places of one process; shared by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[Hashable] = Counter()

    @contextmanager
    def place(self, payer: Payer) -> Iterator[None]:
        """Holds a place until the context ends.

        Raises:
            FetchPostponed: at once, when all that the payer could have are taken.
        """
        shares = payer.shares(in_all=PLACES, for_client=PLACES_PER_CLIENT)
        with self._lock:
            if any(self._taken[share] >= limit for share, limit in shares.items()):
                raise FetchPostponed("Too many requests wait for such a URL.")
            self._taken.update(shares.keys())
        try:
            yield
        finally:
            with self._lock:
                self._taken.subtract(shares.keys())
                self._taken = +self._taken
