"""Writing down what the processes noted of the use of credentials, and telling of what is unusual in it.

A thread of each process that serves does it, some times a minute and once more when the process ends. A process that is
killed loses the counts of its last minute and nothing else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import Engine, or_, select, tuple_, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from server.domain import api_keys, audit_log, credential_usage
from server.domain.actor import Actor
from server.domain.api_keys import ApiKey
from server.domain.audit_events import AuditEvent
from server.domain.clients import Client
from server.domain.credential_usage import CredentialNetwork, CredentialUsage
from server.domain.unit_of_work import Runtime, UnitOfWork
from server.domain.unproven_requests import Repetitions, UnprovenRequest
from server.domain.usability import why_unusable
from server.domain.usage_recorder import Noted, PresentedKey, Refusals, Subject, network_of
from server.infra.database import count_changed, insert_if_absent, open_engine

log = logging.getLogger(__name__)

#: How often a process tries to write; each credential is written once a minute at most.
INTERVAL_SECONDS: Final = 15.0
#: How long the thread may not notice that the process ends.
_IDLE_SECONDS: Final = 0.5
#: So many credentials in one transaction: nobody waits long for its locks.
_BATCH: Final = 200
#: As many failures of one credential between two writes are told of, and again only after a while.
BURST: Final = 20
_NEXT_ALERT: Final = timedelta(hours=1)
#: A credential that is used from more networks than this is used from anywhere; further ones say nothing.
MAXIMUM_NETWORKS: Final = 50
_SYSTEM: Final = Actor("operator", "usage")
_TABLES: Final[dict[str, type[ApiKey | Client]]] = {"api_key": ApiKey, "client": Client}
_ADDED: Final = {"api_key": AuditEvent.API_KEY_NETWORK_ADDED, "client": AuditEvent.CLIENT_NETWORK_ADDED}
_NOTICED: Final = {"api_key": AuditEvent.API_KEY_FAILURES_NOTICED, "client": AuditEvent.CLIENT_FAILURES_NOTICED}


def flush_usage(work: UnitOfWork, *, now_or_never: bool = False) -> None:
    """Writes all that this process noted, as far as no other one wrote within the last minute."""
    recorder = work.runtime.usage
    for failure in tell_of_refusals(work, recorder.take_refused()):
        recorder.note_failures("api_key", *failure)
    recorder.give_back(write_usage(work, recorder.take(), now_or_never=now_or_never))
    _tell_of_repetitions(work, recorder.unproven.take(all_of_them=now_or_never))


def record_unproven(work: UnitOfWork, event: AuditEvent, **details: str) -> None:
    """Writes the audit row of a refused request that proved nothing, or counts it where it repeats another."""
    network = network_of(work.actor.ip) if work.actor.ip is not None else None
    request = UnprovenRequest(event, tuple(sorted(details.items())), network)
    if work.runtime.usage.unproven.is_first(request, work.actor):
        audit_log.record_soon(work, event, **details)


def _tell_of_repetitions(work: UnitOfWork, repeated: Mapping[UnprovenRequest, Repetitions]) -> None:
    for request, repetitions in repeated.items():
        there = UnitOfWork(work.runtime, work.db, repetitions.actor, work.registry)
        audit_log.record(there, request.event, count=repetitions.count, **dict(request.details))


def write_usage(
    work: UnitOfWork, noted: Mapping[Subject, Noted], *, now_or_never: bool = False
) -> dict[Subject, Noted]:
    """Adds what was noted to the rows, and tells of what is unusual; returns what is to be written later."""
    existing, known = _existing(work, noted), _known_networks(work, noted)
    later = {}
    # Always in the same order, so that processes wait for each other and never deadlock.
    for subject in sorted(each for each in noted if each[:2] in existing):
        each = noted[subject]
        if not credential_usage.write(work, subject, each, now_or_never=now_or_never):
            later[subject] = each
            continue
        _remember_networks(work, subject, each, known[subject[:2]])
        if each.failures >= BURST:
            _tell_of_failures(work, subject, each)
    return later


def tell_of_refusals(work: UnitOfWork, refused: Mapping[PresentedKey, Refusals]) -> Sequence[tuple[str, str, Refusals]]:
    """Finds out which of our keys were refused, and tells of each; texts that name no key of ours are left at that.

    Returns:
        The id of each key, why it was refused, and how often, to be noted when this is committed.
    """
    public_ids = {presented.public_id for presented in refused}
    found = work.db.scalars(select(ApiKey).where(ApiKey.public_id.in_(public_ids))) if public_ids else ()
    keys = {key.public_id: key for key in found}
    alike: dict[tuple[str, str, str | None], Refusals] = {}
    for presented, refusals in refused.items():
        key = keys.get(presented.public_id)
        if key is not None:
            same = (key.public_id, _reason(key, presented, refusals), presented.ip)
            before = alike.get(same)
            alike[same] = Refusals(refusals.count + (before.count if before else 0), refusals.at, refusals.actor)
    failures = [(keys[public_id], reason, refusals) for (public_id, reason, _), refusals in alike.items()]
    for key, reason, refusals in failures:
        there = UnitOfWork(work.runtime, work.db, refusals.actor, work.registry)
        api_keys.record(there, AuditEvent.API_KEY_REFUSED, key, reason=reason, count=refusals.count)
    return [(key.id, reason, refusals) for key, reason, refusals in failures]


def _reason(key: ApiKey, presented: PresentedKey, refusals: Refusals) -> str:
    if presented.reason is not None:
        return presented.reason
    if key.secret_mac not in presented.macs:
        return "wrong_secret"
    # Refused then, in order again now: its end was put off, or clocks disagree.
    return why_unusable(refusals.at, key) or "ended"


def _existing(work: UnitOfWork, noted: Mapping[Subject, Noted]) -> set[tuple[str, str]]:
    """Those that were not removed meanwhile: of them nothing is kept."""
    existing = set()
    for kind, table in _TABLES.items():
        ids = [credential_id for other, credential_id, _ in noted if other == kind]
        existing |= {(kind, found) for found in work.db.scalars(select(table.id).where(table.id.in_(ids)))}
    return existing


def _known_networks(work: UnitOfWork, noted: Mapping[Subject, Noted]) -> dict[tuple[str, str], set[str]]:
    known: dict[tuple[str, str], set[str]] = defaultdict(set)
    wanted = [(kind, credential_id) for (kind, credential_id, _), each in noted.items() if each.networks]
    query = select(CredentialNetwork.kind, CredentialNetwork.credential_id, CredentialNetwork.network)
    place = tuple_(CredentialNetwork.kind, CredentialNetwork.credential_id)
    for row in work.db.execute(query.where(place.in_(wanted))) if wanted else ():
        known[row.kind, row.credential_id].add(row.network)
    return known


def _remember_networks(work: UnitOfWork, subject: Subject, noted: Noted, known: set[str]) -> None:
    """Remembers networks not seen before; those of the first use are what is usual, and later ones are told of."""
    kind, credential_id, _ = subject
    is_first_use = not known
    for network in sorted(noted.networks - known)[: max(0, MAXIMUM_NETWORKS - len(known))]:
        values = {"kind": kind, "credential_id": credential_id, "network": network, "first_seen_at": work.now}
        if insert_if_absent(work.db, CredentialNetwork, values) and not is_first_use:
            _record(work, _ADDED[kind], subject, network=network)
        known.add(network)


def _tell_of_failures(work: UnitOfWork, subject: Subject, noted: Noted) -> None:
    kind, credential_id, day = subject
    row = (
        CredentialUsage.kind == kind,
        CredentialUsage.credential_id == credential_id,
        CredentialUsage.day == day,
    )
    is_due = or_(CredentialUsage.alerted_at.is_(None), CredentialUsage.alerted_at <= work.now - _NEXT_ALERT)
    if count_changed(work.db, update(CredentialUsage).where(*row, is_due).values(alerted_at=work.now)):
        _record(work, _NOTICED[kind], subject, count=noted.failures, reason=noted.last_failure_reason)


def _record(work: UnitOfWork, event: AuditEvent, subject: Subject, **details: audit_log.Detail) -> None:
    kind, credential_id, _ = subject
    if kind == "api_key":
        key = work.db.get(ApiKey, credential_id)
        if key is not None:
            api_keys.record(work, event, key, **details)
        return
    client = work.db.get(Client, credential_id)
    if client is not None:
        details = {"organization_id": client.organization_id, "environment": client.environment, **details}
        audit_log.record(work, event, user_id=None, client_id=client.id, **details)


class UsageWriter(threading.Thread):
    """Writes until the process ends.

    It is no daemon: the interpreter waits for it, and when the main thread is over it writes what is left.
    """

    def __init__(self, runtime: Runtime, interval_seconds: float = INTERVAL_SECONDS) -> None:
        super().__init__(name="usage-writer", daemon=False)
        self._runtime, self._interval = runtime, interval_seconds
        self._stopped = threading.Event()
        self._main = threading.main_thread()

    def run(self) -> None:
        """The thread's work."""
        engine = open_engine(self._runtime.settings)
        due = time.monotonic() + self._interval
        while self._main.is_alive() and not self._stopped.wait(_IDLE_SECONDS):
            if time.monotonic() >= due:
                self.write_all(engine)
                due = time.monotonic() + self._interval
        self.write_all(engine, now_or_never=True)
        engine.dispose()

    def stop(self) -> None:
        """Ends the thread, once what it knows is written."""
        self._stopped.set()

    def write_all(self, engine: Engine, *, now_or_never: bool = False) -> None:
        """One round, in batches; what the database does not take waits for the next one."""
        recorder = self._runtime.usage
        self._tell(engine, recorder.take_refused())
        self._tell_of_unproven(engine, recorder.unproven.take(all_of_them=now_or_never))
        noted = list(recorder.take().items())
        for begin in range(0, len(noted), _BATCH):
            batch = dict(noted[begin : begin + _BATCH])
            recorder.give_back(self._write(engine, batch, now_or_never=now_or_never))

    def _tell(self, engine: Engine, refused: Mapping[PresentedKey, Refusals]) -> None:
        if not refused:
            return
        try:
            with Session(engine) as db:
                failures = tell_of_refusals(UnitOfWork.begin(self._runtime, db, _SYSTEM), refused)
                db.commit()
        except SQLAlchemyError as error:
            log.warning("refusals of API keys wait for the database: %s", type(error).__name__)
            self._runtime.usage.give_back_refused(refused)
            return
        for failure in failures:
            self._runtime.usage.note_failures("api_key", *failure)

    def _tell_of_unproven(self, engine: Engine, repeated: dict[UnprovenRequest, Repetitions]) -> None:
        if not repeated:
            return
        try:
            with Session(engine) as db:
                _tell_of_repetitions(UnitOfWork.begin(self._runtime, db, _SYSTEM), repeated)
                db.commit()
        except SQLAlchemyError as error:
            log.warning("refused requests wait for the database: %s", type(error).__name__)
            self._runtime.usage.unproven.give_back(repeated)

    def _write(self, engine: Engine, batch: dict[Subject, Noted], *, now_or_never: bool) -> dict[Subject, Noted]:
        try:
            with Session(engine) as db:
                later = write_usage(UnitOfWork.begin(self._runtime, db, _SYSTEM), batch, now_or_never=now_or_never)
                db.commit()
        except SQLAlchemyError as error:
            log.warning("the use of credentials waits for the database: %s", type(error).__name__)
            return batch
        return later
