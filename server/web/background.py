"""What each worker does beside answering requests: it changes keys and tidies up, in transactions of its own."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from server.domain import audit_chain
from server.domain.actor import Actor
from server.domain.api_key_reports import warn_of_expiring_keys
from server.domain.housekeeping import BATCH, RULES, find_due, remove
from server.domain.key_rotation import Due, follow_schedule, list_due
from server.domain.signing_keys import generate_key
from server.domain.unit_of_work import Runtime, UnitOfWork
from server.infra.database import begin_reading, open_engine

log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 60.0
#: How long a batch may hold its locks, half of what is promised.
_LOCK_SECONDS: Final = 0.025
_FIRST_BATCH: Final = 50
_WARNED_AT_ONCE: Final = 100
_SYSTEM: Final = Actor("operator", "housekeeping")


class Sweeper(threading.Thread):
    """Sweeps until nothing is due, waits, and begins again; a fault is logged and the next round tries anew."""

    def __init__(self, runtime: Runtime, interval_seconds: float = INTERVAL_SECONDS) -> None:
        super().__init__(name="sweeper", daemon=True)
        self._runtime, self._interval = runtime, interval_seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        """The thread's work."""
        while not self._stopped.wait(self._interval):
            try:
                self.sweep_all()
                self._runtime.metrics.swept()
            except SQLAlchemyError as error:
                log.warning("housekeeping did not finish: %s", type(error).__name__)

    def stop(self) -> None:
        """Ends the thread after the round under way."""
        self._stopped.set()

    def sweep_all(self) -> None:
        """One round: keys, then whatever is over, in batches so small that nobody waits for one, then seals."""
        engine = open_engine(self._runtime.settings)
        try:
            self._rotate_keys(engine)
            removed = {name: count for name in RULES if (count := self._sweep_by(name, engine))}
            if removed:
                log.info("removed what was over: %s", removed)
            while not self._stopped.is_set() and self._warn(engine):
                pass
            while not self._stopped.is_set() and self._seal(engine):
                pass
        finally:
            engine.dispose()

    def _rotate_keys(self, engine: Engine) -> None:
        """Follows the schedule of the keys, step by step; all replicas do, and the first one acts."""
        while (due := self._due_step(engine)) and not self._stopped.is_set():
            # Between two transactions: making an RSA key takes longer than anybody should wait for a lock.
            spare = generate_key(due.algorithm) if due.needs_key else None
            with Session(engine) as db:
                is_done = follow_schedule(UnitOfWork.begin(self._runtime, db, _SYSTEM), due, spare)
                db.commit()
            if is_done:
                log.info("keys, by schedule: %s %s", due.step, due.algorithm)

    def _warn(self, engine: Engine) -> bool:
        """Warns the owners of some API keys that end soon; whether there may be more of them."""
        with Session(engine) as db:
            warned = warn_of_expiring_keys(UnitOfWork.begin(self._runtime, db, _SYSTEM), limit=_WARNED_AT_ONCE)
            db.commit()
        return warned == _WARNED_AT_ONCE

    def _due_step(self, engine: Engine) -> Due | None:
        with Session(engine) as db:
            begin_reading(db)
            return next(iter(list_due(UnitOfWork.begin(self._runtime, db, _SYSTEM))), None)

    def _sweep_by(self, name: str, engine: Engine) -> int:
        """Removes what is due by one rule; returns how many rows that were."""
        total, size = 0, _FIRST_BATCH
        is_more_due = True
        while is_more_due and not self._stopped.is_set():
            with Session(engine) as db:
                # Found without the write lock of SQLite: the search is what takes long in a large table.
                begin_reading(db)
                due = find_due(UnitOfWork.begin(self._runtime, db, _SYSTEM), name)
            is_more_due = len(due) == BATCH
            while due and not self._stopped.is_set():
                began = time.monotonic()
                with Session(engine) as db:
                    total += remove(UnitOfWork.begin(self._runtime, db, _SYSTEM), name, due[:size])
                    db.commit()
                due = due[size:]
                size = _next_size(size, time.monotonic() - began)
        return total

    def _seal(self, engine: Engine) -> bool:
        with Session(engine) as db:
            work = UnitOfWork.begin(self._runtime, db, _SYSTEM)
            sealed = audit_chain.seal(work)
            db.commit()
            return audit_chain.may_be_more(work, sealed)


def _next_size(size: int, seconds: float) -> int:
    """How many rows go next: as many as can in the time that writers may be kept waiting, going by the last batch."""
    fitting = int(size * _LOCK_SECONDS / max(seconds, 0.001))
    return max(1, min(BATCH, fitting, 2 * size))
