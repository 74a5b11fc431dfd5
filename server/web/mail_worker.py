"""Sends the mail that waits: a thread in each process that serves, in its own transactions, one mail at a time."""

from __future__ import annotations

import logging
import threading
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from server.config import Settings
from server.domain import audit_log, outgoing_mail
from server.domain.actor import Actor
from server.domain.audit_events import AuditEvent
from server.domain.outgoing_mail import LeasedMail, Message
from server.domain.unit_of_work import Runtime, UnitOfWork
from server.infra import draining, mail
from server.infra.database import begin_reading, open_engine
from server.infra.resources import TEMPLATES

log = logging.getLogger(__name__)

#: How long a mail may wait until somebody looks.
INTERVAL_SECONDS: Final = 1.0
_SYSTEM: Final = Actor("operator", "mail")
_PAGES: Final = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


class MailWorker(threading.Thread):
    """Looks, sends, notes what came of it; ends at once where no mail server is configured."""

    def __init__(self, runtime: Runtime, interval_seconds: float = INTERVAL_SECONDS) -> None:
        super().__init__(name="mail", daemon=True)
        self._runtime, self._interval = runtime, interval_seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        """The thread's work."""
        if not mail.is_configured(self._runtime.settings):
            return
        engine = open_engine(self._runtime.settings)
        try:
            while not self._stopped.wait(self._interval):
                try:
                    while not self._stopped.is_set() and self.turn(engine):
                        pass
                except SQLAlchemyError as error:
                    log.warning("outgoing mail waits for the database: %s", type(error).__name__)
                except Exception:
                    # Whatever it was, the mail is there still, and its lease ends.
                    log.exception("outgoing mail met a fault")
        finally:
            engine.dispose()

    def stop(self) -> None:
        """Ends the thread after the mail under way."""
        self._stopped.set()

    def turn(self, engine: Engine) -> bool:
        """Sends the mail that is longest due; whether there was one."""
        if draining.is_draining() or not self._is_due(engine):
            # Other processes send what is left.
            return False
        with Session(engine) as db:
            leased = outgoing_mail.lease_next(UnitOfWork.begin(self._runtime, db, _SYSTEM))
            db.commit()
        if leased is None:
            return False
        self._settle(engine, leased, self._send(leased))
        return True

    def _is_due(self, engine: Engine) -> bool:
        with Session(engine) as db:
            # Without the write lock of SQLite: mostly there is nothing to do.
            begin_reading(db)
            return outgoing_mail.is_due(UnitOfWork.begin(self._runtime, db, _SYSTEM))

    def _send(self, leased: LeasedMail) -> mail.MailDelayed | mail.MailRefused | None:
        """What stood in the way, if anything did."""
        if leased.message is None:
            return mail.MailRefused("it does not open with this keyring")
        settings = self._runtime.settings
        html = leased.message.html or _html_of(settings, leased.message)
        number = f"mail-{leased.id}-{int(leased.expires_at.timestamp())}"
        letter = mail.Letter(number, leased.recipient, leased.message.subject, leased.message.text, html)
        try:
            mail.send(settings, self._runtime.clock, letter)
        except (mail.MailDelayed, mail.MailRefused) as error:
            log.warning("mail %s was not sent: %s", leased.id, error)
            return error
        return None

    def _settle(self, engine: Engine, leased: LeasedMail, fault: Exception | None) -> None:
        with Session(engine) as db:
            work = UnitOfWork.begin(self._runtime, db, _SYSTEM)
            is_put_off = isinstance(fault, mail.MailDelayed) and outgoing_mail.put_off(work, leased)
            if not is_put_off and outgoing_mail.remove(work, leased):
                event = AuditEvent.MAIL_DELIVERED if fault is None else AuditEvent.MAIL_ABANDONED
                reason = {"reason": str(fault)} if fault is not None else {}
                audit_log.record(work, event, mail_id=leased.id, attempts=leased.attempts, **reason)
            db.commit()


def _html_of(settings: Settings, message: Message) -> str:
    """The text as HTML. Only a line that is nothing but an address of ours becomes a link."""
    page = _PAGES.get_template("email/message.html")
    own = f"{settings.issuer}/"
    paragraphs = [(each, each.startswith(own) and len(each.split()) == 1) for each in message.text.split("\n\n")]
    return page.render(issuer_name=settings.issuer_name, subject=message.subject, paragraphs=paragraphs)
