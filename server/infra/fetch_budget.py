"""How much fetching one process does: so many a minute, each document once at a time, and a failure is remembered.

Whoever may name a URL could otherwise make this server a multiplier of requests to somebody else (RFC 9101 §10.4). Nor
does one who spends all that there is keep others from what they need: each account has a budget of its own.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Final

from server.infra.fetch_payer import ANYBODY, FetchFailed, FetchPostponed, Payer
from server.infra.outbound_addresses import FetchRefused

#: In a minute, on each of the four accounts: from one host, for one client, and over all.
PER_HOST: Final = 120
PER_CLIENT: Final = 60
OVER_ALL: Final = 600
WINDOW_SECONDS: Final = 60.0
#: For so long a URL that failed is not asked again.
FAILURE_SECONDS: Final = 5.0
_MAX_FAILURES: Final = 1000


class FetchBudget:
    """The fetches of one process; shared by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._window = 0.0
        self._spent: Counter[Hashable] = Counter()
        self._failures: dict[object, tuple[float, FetchFailed | FetchRefused]] = {}
        self._running: dict[object, Future[Any]] = {}

    def spend(self, host: str, payer: Payer = ANYBODY) -> None:
        """Counts one fetch from the host.

        Raises:
            FetchPostponed: when the payer's of this minute are spent, from this host, for this client or over all.
        """
        shares = payer.shares(in_all=OVER_ALL, for_client=PER_CLIENT)
        shares = {**shares, (payer.account, "host", host): PER_HOST}
        with self._lock:
            now = time.monotonic()
            if now - self._window >= WINDOW_SECONDS:
                self._window = now
                self._spent.clear()
            if any(self._spent[share] >= limit for share, limit in shares.items()):
                raise FetchPostponed("The URL is fetched from too often.")
            self._spent.update(shares.keys())

    def share(self, key: object, fetch: Callable[[], Any]) -> Any:
        """What `fetch` brings: asked once by all who want the same at a time, and not again soon after it failed.

        Raises:
            FetchRefused, FetchFailed: as `fetch` does, or as it did moments ago.
        """
        with self._lock:
            self._check_failures(key)
            running = self._running.get(key)
            is_ours = running is None
            if running is None:
                running = self._running[key] = Future()
        if is_ours:
            self._fulfil(key, running, fetch)
        return running.result()

    def _check_failures(self, key: object) -> None:
        until, failure = self._failures.get(key, (0.0, None))
        if failure is not None and time.monotonic() < until:
            raise copy.copy(failure)
        self._failures.pop(key, None)

    def _fulfil(self, key: object, running: Future[Any], fetch: Callable[[], Any]) -> None:
        try:
            running.set_result(fetch())
        except (FetchFailed, FetchRefused) as error:
            if not isinstance(error, FetchPostponed):
                self._remember(key, error)
            running.set_exception(error)
        finally:
            with self._lock:
                del self._running[key]
            if not running.done():
                running.set_exception(FetchFailed("The fetch was broken off."))

    def _remember(self, key: object, failure: FetchFailed | FetchRefused) -> None:
        with self._lock:
            if len(self._failures) >= _MAX_FAILURES:
                self._failures.clear()
            # A copy holds no traceback, and with it nothing else.
            self._failures[key] = (time.monotonic() + FAILURE_SECONDS, copy.copy(failure))
