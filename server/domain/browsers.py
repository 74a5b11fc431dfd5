"""Browsers: each known by an opaque secret in its cookie, stored as a digest and replaced at every sign-in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Mapped, make_transient_to_detached, mapped_column, object_session
from sqlalchemy.orm.attributes import set_committed_value

from server.domain.errors import Denied
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base, columns_of, detached, table_of

SECRET_PREFIX: Final = "bs_"
#: How long a replaced secret is still recognised.
SUPERSEDED_SECONDS: Final = 10
#: What a request is told that named its browser by a secret which was replaced meanwhile.
SESSION_CHANGED: Final = "Your session has just changed in another tab. Reload this page."


class Browser(Base):
    """One browser, whoever is signed in on it."""

    __tablename__ = "browsers"
    __allow_unmapped__ = True

    #: The digest of the secret by which this request named the browser; not a column.
    presented_digest: str = ""

    id: Mapped[str] = mapped_column(primary_key=True)
    secret_digest: Mapped[str] = mapped_column(unique=True)
    #: The secret before the last replacement: it opens nothing, but a request that was on its way is recognised.
    previous_secret_digest: Mapped[str | None] = mapped_column(index=True)
    secret_replaced_at: Mapped[datetime | None]
    current_session_id: Mapped[str | None]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime] = mapped_column(index=True)


BROWSERS: Final = table_of(Browser)
_BY_SECRET: Final = select(Browser).where(Browser.secret_digest == bindparam("digest"))
_READ_BY_SECRET: Final = select(*columns_of(Browser)).where(Browser.secret_digest == bindparam("digest"))
_BY_PREVIOUS_SECRET: Final = select(Browser).where(Browser.previous_secret_digest == bindparam("digest"))
_LOCKED: Final = select(Browser).where(Browser.id == bindparam("id")).with_for_update()


def create_browser(work: UnitOfWork) -> tuple[Browser, str]:
    """A new browser and the secret for its cookie, which is not stored."""
    secret = secrets.new_secret(SECRET_PREFIX)
    browser = Browser(
        id=secrets.new_id(),
        secret_digest=secrets.digest(secret),
        previous_secret_digest=None,
        secret_replaced_at=None,
        current_session_id=None,
        created_at=work.now,
        last_seen_at=work.now,
    )
    browser.presented_digest = browser.secret_digest
    work.db.add(browser)
    work.db.flush()
    return browser, secret


def find_browser(work: UnitOfWork, secret: str) -> Browser | None:
    """The browser whose cookie this is, or None."""
    if not secret.startswith(SECRET_PREFIX):
        return None
    return _presented(work, secret, _BY_SECRET)


def read_browser(work: UnitOfWork, secret: str) -> Browser | None:
    """As `find_browser`, without a transaction: for reading only, until `lock_browser` makes it the unit of work's."""
    digest = secrets.digest(secret)
    rows = work.read(_READ_BY_SECRET, {"digest": digest}) if secret.startswith(SECRET_PREFIX) else ()
    if not rows:
        return None
    browser = detached(Browser, rows[0])
    browser.presented_digest = digest
    return browser


def find_superseded_browser(work: UnitOfWork, secret: str) -> Browser | None:
    """The browser whose cookie this was until a moment ago: before a sign-in or sign-out that is still being answered.

    Such a secret may only repeat the sign-in that superseded it, with the same person's password: the second half of a
    double click. Whoever else knows it (session fixation) gets nothing.
    """
    since = work.now - timedelta(seconds=SUPERSEDED_SECONDS)
    return _presented(work, secret, _BY_PREVIOUS_SECRET.where(Browser.secret_replaced_at > since))


def _presented(work: UnitOfWork, secret: str, query: Select[Browser]) -> Browser | None:
    digest = secrets.digest(secret)
    browser = work.db.scalars(query, {"digest": digest}).one_or_none()
    if browser is not None:
        browser.presented_digest = digest
    return browser


def lock_browser(work: UnitOfWork, browser: Browser) -> None:
    """Reads the browser's row anew and holds it, so that of two requests at once the second sees what the first did.

    Whoever changes sessions takes the browser's row first: with one order there are no deadlocks.

    Raises:
        Denied: when housekeeping has just removed it.
    """
    if object_session(browser) is None:
        make_transient_to_detached(browser)
        work.db.add(browser)
    work.db.flush()
    found = work.db.scalars(_LOCKED, {"id": browser.id}, execution_options={"populate_existing": True})
    if found.one_or_none() is None:
        raise Denied("Your session has just ended. Reload this page.")


def new_secret(browser: Browser, session_id: str | None, now: datetime) -> tuple[str, dict[str, Any]]:
    """A new cookie secret for the browser, and what its row says then; the old one opens nothing from that on."""
    secret = secrets.new_secret(SECRET_PREFIX)
    return secret, {
        "secret_digest": secrets.digest(secret),
        "previous_secret_digest": browser.presented_digest,
        "secret_replaced_at": now,
        "current_session_id": session_id,
        "last_seen_at": now,
    }


def note_secret(browser: Browser, replaced: dict[str, Any]) -> None:
    """Takes over what a statement wrote into the browser's row."""
    for name, value in replaced.items():
        set_committed_value(browser, name, value)
    browser.presented_digest = browser.secret_digest
