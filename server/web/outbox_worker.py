"""Sends what waits in the outbox: a thread in each process that serves, in its own transactions.

No request waits for it. A receiver that does not answer holds one connection of each process and nobody else's
messages: each client has few attempts at once, and one that did not answer the last time has one.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from server.domain import audit_log, outbox
from server.domain.actor import Actor
from server.domain.audit_events import AuditEvent
from server.domain.logout import BACKCHANNEL
from server.domain.outbox import Leased
from server.domain.unit_of_work import Runtime, UnitOfWork
from server.infra import draining
from server.infra.database import begin_reading, open_engine
from server.protocol import backchannel_logout
from server.protocol.backchannel_logout import LogoutRequest, Outcome

log = logging.getLogger(__name__)

#: How long a message may wait until somebody looks.
INTERVAL_SECONDS: Final = 1.0
#: Attempts at once, over all clients and for any one of them.
_AT_ONCE: Final = 32
_AT_ONCE_TO_ONE: Final = 4
#: How long results gather, so that one transaction takes several.
_GATHER_SECONDS: Final = 0.01
_SYSTEM: Final = Actor("operator", "outbox")
_EVENTS: Final = {
    Outcome.DELIVERED: AuditEvent.LOGOUT_TOKEN_DELIVERED,
    Outcome.REFUSED: AuditEvent.LOGOUT_TOKEN_REFUSED,
    Outcome.FAILED: AuditEvent.LOGOUT_TOKEN_EXPIRED,
    Outcome.UNANSWERED: AuditEvent.LOGOUT_TOKEN_EXPIRED,
}


class OutboxWorker(threading.Thread):
    """Looks, sends, notes what came of it; a fault is logged and the next round tries anew."""

    def __init__(self, runtime: Runtime, interval_seconds: float = INTERVAL_SECONDS) -> None:
        super().__init__(name="outbox", daemon=True)
        self._runtime, self._interval = runtime, interval_seconds
        self._stopped = threading.Event()
        #: What the sending threads found out.
        self._results: queue.SimpleQueue[tuple[Leased, Outcome]] = queue.SimpleQueue()
        #: The same once it was taken from there, until the database knows.
        self._unsettled: list[tuple[Leased, Outcome]] = []
        self._under_way: Counter[str] = Counter()
        #: The clients that did not answer the last time.
        self._silent: set[str] = set()

    def run(self) -> None:
        """The thread's work."""
        engine = open_engine(self._runtime.settings)
        try:
            while not self._stopped.is_set():
                self._collect()
                try:
                    self.turn(engine)
                except SQLAlchemyError as error:
                    log.warning("the outbox waits for the database: %s", type(error).__name__)
                    self._stopped.wait(self._interval)
                except Exception:
                    # Whatever it was, the messages are there still, and nobody else of this process sends them.
                    log.exception("the outbox met a fault")
                    self._stopped.wait(self._interval)
        finally:
            engine.dispose()

    def stop(self) -> None:
        """Ends the thread after the round under way. What is being sent then is sent again when its lease ends."""
        self._stopped.set()

    def turn(self, engine: Engine) -> None:
        """One round: notes what came back, and begins what may be sent."""
        if not self._unsettled and not self._is_due(engine):
            return
        while started := self._settle_and_lease(engine):
            self._start(engine, started)

    def _collect(self) -> None:
        """Waits for a result, or until it is time to look for messages."""
        try:
            self._take(self._results.get(timeout=self._interval))
        except queue.Empty:
            return
        time.sleep(_GATHER_SECONDS)
        while not self._results.empty():
            self._take(self._results.get())

    def _take(self, result: tuple[Leased, Outcome]) -> None:
        message, outcome = result
        self._unsettled.append(result)
        self._under_way -= Counter([message.client_id])
        if outcome is Outcome.UNANSWERED:
            self._silent.add(message.client_id)
        else:
            self._silent.discard(message.client_id)

    def _is_due(self, engine: Engine) -> bool:
        with Session(engine) as db:
            # Without the write lock of SQLite: mostly there is nothing to do.
            begin_reading(db)
            return outbox.is_due(UnitOfWork.begin(self._runtime, db, _SYSTEM))

    def _settle_and_lease(self, engine: Engine) -> list[Leased]:
        settling, free = self._unsettled, _AT_ONCE - self._under_way.total()
        if draining.is_draining():
            # Other processes send what is left.
            free = 0
        if not settling and free <= 0:
            return []
        with Session(engine) as db:
            work = UnitOfWork.begin(self._runtime, db, _SYSTEM)
            for message, outcome in settling:
                _settle(work, message, outcome)
            leased = outbox.lease_due(work, BACKCHANNEL, free, _AT_ONCE_TO_ONE, *self._kept_apart()) if free > 0 else []
            db.commit()
        self._unsettled = []
        return leased

    def _kept_apart(self) -> tuple[list[str], list[str]]:
        """The clients that get one attempt at most, and those that get none for now."""
        busy = [
            client_id
            for client_id, count in self._under_way.items()
            if count >= (1 if client_id in self._silent else _AT_ONCE_TO_ONE)
        ]
        return sorted(self._silent), busy

    def _start(self, engine: Engine, messages: list[Leased]) -> None:
        with Session(engine) as db:
            work = UnitOfWork.begin(self._runtime, db, _SYSTEM)
            for message in messages:
                self._under_way[message.client_id] += 1
                self._start_one(work, message)

    def _start_one(self, work: UnitOfWork, message: Leased) -> None:
        try:
            request = backchannel_logout.prepare(work, message)
        except Exception:
            # A fault of one message, or of the database for a moment: the others go out all the same.
            log.exception("a logout token could not be made")
            self._results.put((message, Outcome.FAILED))
            return
        if request is None:
            self._results.put((message, Outcome.REFUSED))
        else:
            threading.Thread(target=self._send, args=(message, request), name="outbox-send", daemon=True).start()

    def _send(self, message: Leased, request: LogoutRequest) -> None:
        outcome = Outcome.UNANSWERED
        try:
            outcome = backchannel_logout.send(self._runtime.outbound_http, request)
        finally:
            self._results.put((message, outcome))


def _settle(work: UnitOfWork, message: Leased, outcome: Outcome) -> None:
    """Notes what came of an attempt: the message goes, or waits for another."""
    is_worth_another = outcome in {Outcome.FAILED, Outcome.UNANSWERED}
    if is_worth_another and outbox.put_off(work, message):
        return
    outbox.remove(work, message)
    audit_log.record(
        work,
        _EVENTS[outcome],
        client_id=message.client_id,
        # As the session is called everywhere in the audit log, not as its client knows it.
        session_id=message.payload.get("session_id", message.payload["sid"]),
        attempts=message.attempts,
    )
