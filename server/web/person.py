"""Who is signed in on this browser, for pages outside an authorization request; and the way to sign in first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlencode

from flask import request

from server.domain.sessions import Session, find_session, list_sessions, touch_session
from server.domain.usability import is_usable
from server.domain.users import User, find_user
from server.web.context import act_as_user, current_work
from server.web.pages import page_url
from server.web.session_cookie import current_browser

#: How long after signing in a person may do what would hurt most in somebody else's hands.
RECENT_SECONDS: Final = 900
#: Our own pages, by their paths under the issuer's; nothing that a browser reads as another host.
_RETURN_PATH: Final = re.compile(r"/(?:dashboard|invitations)(?:/[A-Za-z0-9._~%-]+)*(?:\?[A-Za-z0-9._~%&=+:-]*)?")


@dataclass(frozen=True)
class SignedIn:
    """A person and the session that says so."""

    user: User
    session: Session


class SignInNeeded(Exception):
    """The page is for people who are signed in, or have signed in a moment ago; `login_url` leads there and back."""

    def __init__(self, login_url: str) -> None:
        super().__init__(login_url)
        self.login_url = login_url


def signed_in() -> SignedIn | None:
    """The person of the browser's current session, if both may still be used."""
    work, browser = current_work(), current_browser()
    session = find_session(work, browser.current_session_id) if browser and browser.current_session_id else None
    user = find_user(work, session.user_id) if session else None
    if session is None or user is None or not is_usable(work.now, session, user):
        return None
    return SignedIn(user, session)


def signed_in_user() -> User | None:
    """The person alone."""
    found = signed_in()
    return found.user if found else None


def signed_in_users() -> list[User]:
    """Everybody with a session on this browser that may still be used."""
    work, browser = current_work(), current_browser()
    if browser is None:
        return []
    known = [(session, find_user(work, session.user_id)) for session in list_sessions(work, browser)]
    return [user for session, user in known if user is not None and is_usable(work.now, session, user)]


def require_person(back_to: str | None = None) -> SignedIn:
    """The person who is signed in; this request's work is theirs from now on.

    Args:
        back_to: the path under the issuer's to come back to; by default this request's own.

    Raises:
        SignInNeeded: when nobody is.
    """
    found = signed_in()
    if found is None:
        raise SignInNeeded(_login_url(back_to))
    act_as_user(found.user.id)
    if request.method == "POST":
        touch_session(current_work(), found.session)
    return found


def require_recent_sign_in(back_to: str | None = None) -> SignedIn:
    """As `require_person`, for dangerous acts: the person has signed in within `RECENT_SECONDS`.

    Raises:
        SignInNeeded: when they have not; the sign-in page asks them to confirm who they are.
    """
    found = require_person(back_to)
    if not is_recent(found.session):
        raise SignInNeeded(_login_url(back_to, confirm="1"))
    return found


def is_recent(session: Session) -> bool:
    """Whether the person has signed in within `RECENT_SECONDS`."""
    return (current_work().now - session.auth_time).total_seconds() < RECENT_SECONDS


def return_path(path: str | None) -> str | None:
    """The path, if it is one of our own pages that people come back to after signing in, or None."""
    if path is None or len(path) > 1000 or not _RETURN_PATH.fullmatch(path):
        return None
    # Browsers take dots out of a path, quoted ones too, and would be led elsewhere.
    segments = unquote(path.partition("?")[0]).split("/")
    return None if {".", ".."} & set(segments) else path


def _login_url(back_to: str | None, **parameters: str) -> str:
    own_path = request.path.removeprefix(current_work().settings.issuer_path)
    if back_to is None:
        query = request.query_string.decode("latin-1")
        back_to = f"{own_path}?{query}" if query and request.method == "GET" else own_path
    known = return_path(back_to)
    asked = {"next": known, **parameters} if known else parameters
    return page_url("login") + (f"?{urlencode(asked)}" if asked else "")
