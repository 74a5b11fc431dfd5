"""How the workers of one server share their figures: each writes its own to a file, and any of them reads all.

The folder belongs to the user of the server alone. Files of workers that have ended stay, so that counters never go
back; the first worker of a server begins with an empty folder. That is the one that finds nobody holding the lock: a
lock ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from server.infra import secrets
from server.infra.metrics import Snapshot, from_document, to_document

#: A worker that has not written for so long is gone: its counters stay, what it had at hand does not.
GONE_SECONDS: Final = 10.0
_LOCK: Final = "lock"


class MetricsExchange:
    """One worker's place in the folder."""

    def __init__(self, folder: Path) -> None:
        _make_private(folder)
        self._folder = folder
        # Held open as long as the process lives.
        self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with suppress(BlockingIOError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in folder.glob("*.json*"):
                path.unlink(missing_ok=True)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        self._own = folder / f"{os.getpid()}-{secrets.new_id()[:8]}.json"

    def publish(self, snapshot: Snapshot) -> None:
        """Replaces this worker's figures."""
        written = self._own.with_suffix(".json.new")
        written.write_text(json.dumps(to_document(snapshot)), encoding="utf-8")
        written.replace(self._own)

    def snapshots(self) -> Iterator[tuple[Snapshot, bool]]:
        """The figures of every worker there has been, and whether it is alive."""
        now = time.monotonic()
        for path in sorted(self._folder.glob("*.json")):
            with suppress(OSError, KeyError, TypeError, ValueError):
                snapshot = from_document(json.loads(path.read_text(encoding="utf-8")))
                yield snapshot, now - snapshot.at < GONE_SECONDS

    def close(self) -> None:
        """Lets go of the lock; the last worker takes the folder away."""
        with suppress(BlockingIOError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


def folder_of_server() -> Path:
    """The folder that the workers of one `gatepost serve` agree on without a word: they have one parent."""
    return Path(tempfile.gettempdir()) / f"gatepost-metrics-{os.getuid()}-{os.getppid()}"


def _make_private(folder: Path) -> None:
    """Makes the folder, or refuses one that somebody else put there.

    Raises:
        PermissionError: when others could read or write it.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not a folder of ours alone")
