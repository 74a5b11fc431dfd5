"""The keys that clients publish at their own URLs: fetched when they are needed, remembered for a minute (RFC 7517 §5).

A client that has a new key says so by naming a `kid` that is not known here; then its keys are fetched again. No URL is
asked more often than every five seconds, whether it answers or not, and by one request at a time. While it does not
answer, what it said within the last five minutes holds; so it does for a request that would be one too many to wait.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from server.infra.clock import Clock
from server.infra.outbound_http import FetchFailed, FetchPostponed, FetchRefused, OutboundHttp, Payer
from server.infra.turns import stepping_aside
from server.infra.waiting_room import WaitingRoom

log = logging.getLogger(__name__)

Keys: TypeAlias = Sequence[Mapping[str, Any]]

#: How long keys are used without asking again.
FRESH_SECONDS: Final = 60
#: How soon the same URL may be asked again.
AGAIN_SECONDS: Final = 5
#: How long keys are used while their URL does not answer.
STALE_SECONDS: Final = 300
#: More URLs than this are not remembered: the one that came first goes.
CAPACITY: Final = 500
_MAXIMUM_KEYS: Final = 100
_ANYBODY: Final = Payer("keys")


class KeysUnavailable(Exception):
    """A client's keys cannot be had from its URL; the message is fixed text."""


@dataclass
class _Remembered:
    keys: Keys = ()
    fetched_at: datetime | None = None
    asked_at: datetime | None = None
    #: One request asks, the others wait for its answer.
    asking: threading.Lock = field(default_factory=threading.Lock)


class RemoteKeys:
    """What this process remembers; any thread may use it."""

    def __init__(self, outbound_http: OutboundHttp, clock: Clock) -> None:
        self._outbound_http, self._clock = outbound_http, clock
        self._by_url: dict[str, _Remembered] = {}
        self._lock = threading.Lock()
        self._waiting_room = WaitingRoom()

    def known(self, url: str, *, fresh: bool = False) -> Keys | None:
        """What is remembered of `url`, at once; None when it has to be fetched.

        Args:
            url: the client's `jwks_uri`.
            fresh: whether what is remembered has been found wanting.

        Raises:
            KeysUnavailable: when nothing is, and the URL failed to answer just now.
        """
        remembered = self._by_url.get(url)
        return self._usable(remembered, fresh=fresh) if remembered is not None else None

    def remembered(self, url: str) -> Keys:
        """What `url` said within the last five minutes, for those who cannot wait now and asked before.

        Raises:
            KeysUnavailable: when that is nothing.
        """
        remembered = self._by_url.get(url, _Remembered())
        return self._while_away(remembered, self._clock.now())

    def fetch(self, url: str, *, fresh: bool = False, payer: Payer = _ANYBODY) -> Keys:
        """The keys at `url`, asked for unless another request has just done so. The caller holds no transaction.

        Raises:
            KeysUnavailable: when there are none to be had.
        """
        remembered = self._entry(url)
        # Whoever waits gives its turn away first: the one who asks needs it to go on.
        with stepping_aside():
            try:
                with self._waiting_room.place(payer), remembered.asking:
                    keys = self._usable(remembered, fresh=fresh)
                    return self._ask(url, remembered, payer) if keys is None else keys
            except FetchPostponed as error:
                # The URL was not asked: whoever has something left to spend may do so at once.
                log.warning("a client's keys are not fetched now: %s", error)
                return self._while_away(remembered, self._clock.now())

    def _usable(self, remembered: _Remembered, *, fresh: bool) -> Keys | None:
        now = self._clock.now()
        if not fresh and _is_within(remembered.fetched_at, now, FRESH_SECONDS):
            return remembered.keys
        if not _is_within(remembered.asked_at, now, AGAIN_SECONDS):
            return None
        return self._while_away(remembered, now)

    def _while_away(self, remembered: _Remembered, now: datetime) -> Keys:
        if not _is_within(remembered.fetched_at, now, STALE_SECONDS):
            raise KeysUnavailable("The client's keys cannot be fetched.")
        return remembered.keys

    def _ask(self, url: str, remembered: _Remembered, payer: Payer) -> Keys:
        try:
            keys = _keys_in(self._outbound_http.get_json(url, payer=payer))
        except FetchPostponed:
            raise
        except (FetchFailed, FetchRefused, KeysUnavailable) as error:
            remembered.asked_at = now = self._clock.now()
            log.warning("a client's keys cannot be fetched: %s", error)
            return self._while_away(remembered, now)
        remembered.keys = keys
        remembered.asked_at = remembered.fetched_at = self._clock.now()
        return keys

    def _entry(self, url: str) -> _Remembered:
        with self._lock:
            remembered = self._by_url.get(url)
            if remembered is None:
                while len(self._by_url) >= CAPACITY:
                    del self._by_url[next(iter(self._by_url))]
                remembered = self._by_url[url] = _Remembered()
            return remembered


def _is_within(moment: datetime | None, now: datetime, seconds: int) -> bool:
    """Whether `moment` lies at most `seconds` back; one that lies ahead, as after the clock was set back, does not."""
    return moment is not None and 0 <= (now - moment).total_seconds() < seconds


def _keys_in(document: Any) -> Keys:
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or len(keys) > _MAXIMUM_KEYS:
        raise KeysUnavailable("The document is not a JWK Set.")
    # What a key is worth is judged when it is used; members of other kinds are ignored (RFC 7517 §5).
    return tuple(key for key in keys if isinstance(key, dict))
