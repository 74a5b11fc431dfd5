"""Browser sessions: which people are signed in on which browser, since when and how.

On one browser several people may be signed in, each with a session of their own; what a client is told
it is called is `logout.sid_of`. When a session ends, however it does, the clients that hold sessions of theirs because
of it are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ForeignKey, bindparam, exists, insert, select, update
from sqlalchemy.orm import Mapped, make_transient_to_detached, mapped_column

from server.domain import audit_log, grants, logout
from server.domain.audit_events import AuditEvent
from server.domain.browsers import (
    BROWSERS,
    SESSION_CHANGED,
    SUPERSEDED_SECONDS,
    Browser,
    lock_browser,
    new_secret,
    note_secret,
)
from server.domain.errors import Denied
from server.domain.policy.lifetimes import expires_at, is_expired
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from server.infra import secrets
from server.infra.database import Base, table_of

#: "Last seen" is written at most once in this many seconds, so that reading a page does not cost a write.
_SEEN_RESOLUTION: Final = 60


class Session(Base):
    """One person signed in on one browser."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    browser_id: Mapped[str] = mapped_column(ForeignKey("browsers.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    auth_time: Mapped[datetime]
    amr: Mapped[list[str]]
    acr: Mapped[str]
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    #: The earlier of the idle limit, which use moves, and `ends_at`, which nothing moves.
    expires_at: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]


# Built once: building a statement takes longer than running it.
SESSIONS: Final = table_of(Session)
_UPDATE_BROWSER: Final = update(BROWSERS).where(BROWSERS.c.id == bindparam("browser_id"))
_INSERT_SESSION: Final = insert(SESSIONS)
_HAS_SIGNED_IN: Final = select(
    exists().where(Session.browser_id == bindparam("browser_id"), Session.user_id == bindparam("user_id"))
)


def replace_secret(work: UnitOfWork, browser: Browser, signing_in: User | None = None) -> str:
    """A new cookie secret for the browser; the old one opens nothing from now on.

    Raises:
        Denied: when the request named the browser by a secret that was replaced meanwhile, unless `signing_in` is the
            person who has just signed in there.
    """
    lock_browser(work, browser)
    return _replace_secret(work, browser, signing_in, browser.current_session_id)


def _replace_secret(work: UnitOfWork, browser: Browser, signing_in: User | None, session_id: str | None) -> str:
    if browser.presented_digest != browser.secret_digest and not _has_just_signed_in(work, browser, signing_in):
        raise Denied(SESSION_CHANGED)
    secret, replaced = new_secret(browser, session_id, work.now)
    work.db.connection().execute(_UPDATE_BROWSER, {"browser_id": browser.id, **replaced})
    note_secret(browser, replaced)
    return secret


def _has_just_signed_in(work: UnitOfWork, browser: Browser, user: User | None) -> bool:
    current = find_session(work, browser.current_session_id) if browser.current_session_id else None
    return user is not None and current is not None and current.user_id == user.id and is_live(current, work.now)


def start_session(work: UnitOfWork, browser: Browser, user: User, *, amr: list[str], acr: str) -> tuple[Session, str]:
    """Signs `user` in on `browser`, ending their earlier session there; returns the browser's new cookie secret too."""
    values = session_values(work, browser, user, amr, acr)
    session = Session(**values)
    lock_browser(work, browser)
    had_sessions = browser.secret_replaced_at is not None
    secret = _replace_secret(work, browser, user, session.id)
    for earlier in _sessions_of(work, browser) if had_sessions else ():
        if earlier.user_id == user.id and earlier.ended_at is None:
            # The very moment the new one began: by that they are known to be one stay of the same person.
            earlier.ended_at = session.created_at
    work.db.connection().execute(_INSERT_SESSION, values)
    # It is in the database now; the unit of work would take five times as long to put it there.
    make_transient_to_detached(session)
    work.db.add(session)
    return session, secret


def session_values(work: UnitOfWork, browser: Browser, user: User, amr: list[str], acr: str) -> dict[str, Any]:
    """The row of a new session, in the order of its columns."""
    now = work.now
    ends_at = now + timedelta(seconds=work.settings.session_lifetime)
    return {
        "id": secrets.new_id(),
        "browser_id": browser.id,
        "user_id": user.id,
        "auth_time": now.replace(microsecond=0),
        "amr": amr,
        "acr": acr,
        "ip": work.actor.ip,
        "user_agent": work.actor.user_agent,
        "created_at": now,
        "last_seen_at": now,
        "expires_at": expires_at(now, work.settings.session_idle_lifetime, ends_at),
        "ends_at": ends_at,
        "ended_at": None,
    }


def is_live(session: Session, now: datetime) -> bool:
    """Whether the session was neither ended nor left idle for too long."""
    return session.ended_at is None and not is_expired(now, session.expires_at)


def lock_live_session(work: UnitOfWork, session: Session) -> bool:
    """Whether the session is live still, holding off its end until this transaction is over."""
    work.db.flush()
    query = select(Session).where(Session.id == session.id).with_for_update().execution_options(populate_existing=True)
    locked = work.db.scalars(query).one_or_none()
    return locked is not None and is_live(locked, work.now)


def has_signed_in(work: UnitOfWork, browser: Browser, user: User | None) -> bool:
    """Whether the person has signed in on this browser before; for nobody it asks as well, so that time tells nothing.

    A browser whose secret was never replaced is asked nothing: nobody has.
    """
    if browser.secret_replaced_at is None:
        return False
    rows = work.read(_HAS_SIGNED_IN, {"browser_id": browser.id, "user_id": user.id if user else ""})
    return bool(rows[0][0])


def find_session(work: UnitOfWork, session_id: str) -> Session | None:
    """The session of this id, live or not, or None."""
    return work.db.get(Session, session_id)


def list_sessions(work: UnitOfWork, browser: Browser) -> Sequence[Session]:
    """The newest session of each person known on this browser, live or not, newest first."""
    newest: dict[str, Session] = {}
    for session in _sessions_of(work, browser):
        newest.setdefault(session.user_id, session)
    return list(newest.values())


def find_told_session(work: UnitOfWork, browser: Browser, client_id: str, sid: str) -> Session | None:
    """The newest session here of the person whose session, live or not, the client knows as `sid`; or None."""
    known = _sessions_of(work, browser)
    # The id itself is what ID tokens told before clients had names of their own for a session.
    told = [each for each in known if sid in {logout.sid_of(each.id, client_id), each.id}]
    return next((each for each in known if told and each.user_id == told[0].user_id), None)


def has_live_session(work: UnitOfWork, browser: Browser, user_ids: Sequence[str]) -> bool:
    """Whether any of these people is signed in on the browser, as the database has it now."""
    query = select(Session.id).where(Session.browser_id == browser.id, Session.user_id.in_(user_ids))
    return work.db.scalars(query.where(Session.ended_at.is_(None), Session.expires_at > work.now)).first() is not None


def _sessions_of(work: UnitOfWork, browser: Browser, *, anew: bool = False) -> Sequence[Session]:
    query = select(Session).where(Session.browser_id == browser.id).execution_options(populate_existing=anew)
    # Live before ended, whatever the clocks of two replicas said.
    order = (Session.ended_at.is_not(None), Session.created_at.desc(), Session.id)
    return work.db.scalars(query.order_by(*order)).all()


def choose_session(work: UnitOfWork, browser: Browser, session: Session) -> None:
    """Makes `session` the one that answers requests from this browser."""
    if browser.current_session_id != session.id:
        audit_log.record(work, AuditEvent.SESSION_CHOSEN, user_id=session.user_id, session_id=session.id)
    browser.current_session_id = session.id
    touch_session(work, session)


def touch_session(work: UnitOfWork, session: Session) -> None:
    """Notes that the session was used, extending its idle limit."""
    if (work.now - session.last_seen_at).total_seconds() >= _SEEN_RESOLUTION:
        session.last_seen_at = work.now
        session.expires_at = expires_at(work.now, work.settings.session_idle_lifetime, session.ends_at)


def end_session(work: UnitOfWork, browser: Browser, session: Session) -> list[str]:
    """Signs the person out on this browser; what they granted only for the session ends with it. Idempotent.

    Returns the ids of what ended now: the session's, and those of the sessions that it had replaced.
    """
    if browser.current_session_id == session.id:
        browser.current_session_id = None
    if session.ended_at is not None:
        return []
    session.ended_at = work.now
    work.db.flush()
    # Also those of earlier sessions that signing in again had replaced.
    known = [each for each in _sessions_of(work, browser) if each.user_id == session.user_id]
    for each in known:
        grants.revoke_grants_of_session(work, each.id)
    ended = _ids_of_stay(session, known)
    logout.tell_clients(work, session.user_id, ended)
    audit_log.record(work, AuditEvent.SESSION_ENDED, user_id=session.user_id, session_id=session.id)
    return ended


def _ids_of_stay(last: Session, known: Sequence[Session]) -> list[str]:
    """The session and those before it that signing in again replaced: clients hold what they got in any of them."""
    stay = [last]
    for earlier in sorted(known, key=lambda each: each.created_at, reverse=True):
        if _is_replaced(earlier, stay[-1]):
            stay.append(earlier)
    return [each.id for each in stay]


def _is_replaced(earlier: Session, later: Session) -> bool:
    """Whether the same person signed in again on the same browser, so that the one session went on as the other."""
    is_same_place = (earlier.browser_id, earlier.user_id) == (later.browser_id, later.user_id)
    return earlier is not later and is_same_place and earlier.ended_at == later.created_at


def list_just_ended(work: UnitOfWork, browser: Browser) -> list[str]:
    """The ids of the sessions that ended on this browser a moment ago, and were not replaced by signing in again."""
    known = _sessions_of(work, browser, anew=True)
    since = work.now - timedelta(seconds=SUPERSEDED_SECONDS)
    ended = [each for each in known if each.ended_at is not None and each.ended_at > since]
    last = [each for each in ended if not any(_is_replaced(each, later) for later in known)]
    return [session_id for each in last for session_id in _ids_of_stay(each, known)]


def tell_clients_of(work: UnitOfWork, user: User) -> list[Session]:
    """Tells all clients where the person is signed in that they no longer are; returns their sessions, still live."""
    known = work.db.scalars(select(Session).where(Session.user_id == user.id)).all()
    live = [each for each in known if each.ended_at is None]
    for session in live:
        logout.tell_clients(work, user.id, _ids_of_stay(session, known))
    return live


def sign_out_everywhere(work: UnitOfWork, user: User, reason: str) -> None:
    """Ends the person's sessions on all browsers and everything they have granted, as after a stolen password."""
    for session in tell_clients_of(work, user):
        session.ended_at = work.now
        audit_log.record(work, AuditEvent.SESSION_ENDED, user_id=user.id, session_id=session.id, reason=reason)
    grants.revoke_grants_of_user(work, user.id, reason)


def forget_session(work: UnitOfWork, browser: Browser, session: Session) -> None:
    """Signs the person out and removes them from the browser's account chooser."""
    user_id = session.user_id
    end_session(work, browser, session)
    for known in _sessions_of(work, browser):
        if known.user_id == user_id:
            work.db.delete(known)
