"""What each worker does beside answering requests: it tidies up, now and then, in its own transactions."""

from __future__ import annotations

import logging
import threading
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from server.domain.actor import Actor
from server.domain.housekeeping import BATCH, sweep
from server.domain.unit_of_work import Runtime, UnitOfWork
from server.infra.database import open_engine

log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 60.0
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
            except SQLAlchemyError as error:
                log.warning("housekeeping did not finish: %s", type(error).__name__)

    def stop(self) -> None:
        """Ends the thread after the round under way."""
        self._stopped.set()

    def sweep_all(self) -> None:
        """One round: batch after batch, each a transaction, until none is full."""
        engine = open_engine(self._runtime.settings)
        try:
            is_more_due = True
            while is_more_due and not self._stopped.is_set():
                with Session(engine) as db:
                    removed = sweep(UnitOfWork(self._runtime, db, _SYSTEM))
                    db.commit()
                is_more_due = any(count >= BATCH for count in removed.values())
                if removed:
                    log.info("removed what was over: %s", removed)
        finally:
            engine.dispose()
