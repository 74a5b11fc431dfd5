"""How far a long run is, said every few seconds."""

from __future__ import annotations

import sys
import threading
import time

_EVERY_SECONDS = 5.0


class Progress:
    """Counts what is done and prints the rate and the time that is left; safe for many threads."""

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total = label, total
        self._lock = threading.Lock()
        self._started = self._said_at = time.monotonic()
        self.done = 0

    def step(self, note: str = "") -> None:
        """One more is done."""
        with self._lock:
            self.done += 1
            now = time.monotonic()
            if now - self._said_at < _EVERY_SECONDS and self.done != self._total:
                return
            self._said_at = now
        rate = self.done / max(now - self._started, 0.001)
        left = (self._total - self.done) / rate
        line = f"{self._label}: {self.done:,} of {self._total:,}, {rate:,.1f}/s, {left:,.0f} s left {note}"
        print(line.rstrip(), file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._started
