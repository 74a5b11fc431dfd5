"""Who is signed in on this browser, for pages outside an authorization request."""

from __future__ import annotations

from server.domain.sessions import find_session, list_sessions
from server.domain.usability import is_usable
from server.domain.users import User, find_user
from server.web.context import current_work
from server.web.session_cookie import current_browser


def signed_in_user() -> User | None:
    """The person of the browser's current session, if both may still be used."""
    work, browser = current_work(), current_browser()
    session = find_session(work, browser.current_session_id) if browser and browser.current_session_id else None
    user = find_user(work, session.user_id) if session else None
    return user if is_usable(work.now, session, user) else None


def signed_in_users() -> list[User]:
    """Everybody with a session on this browser that may still be used."""
    work, browser = current_work(), current_browser()
    if browser is None:
        return []
    known = [(session, find_user(work, session.user_id)) for session in list_sessions(work, browser)]
    return [user for session, user in known if user is not None and is_usable(work.now, session, user)]
