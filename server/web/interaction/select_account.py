"""The account chooser (OpenID Connect Core §3.1.2.1, `prompt=select_account`; and "not you?")."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request
from flask.wrappers import Response

from server.domain import browsers, sessions
from server.domain.authorization_requests import AuthorizationRequest, note_account_choice
from server.domain.browsers import Browser
from server.domain.sessions import Session
from server.domain.usability import is_usable
from server.domain.users import find_user
from server.web.authorization_response import application_of, resume_url
from server.web.context import act_as_user, current_work
from server.web.csrf import check_csrf, csrf_token
from server.web.interaction.pending import required_request
from server.web.pages import initials, page_url, redirect_to, render
from server.web.session_cookie import ensure_browser
from server.web.transaction import in_transaction


@dataclass(frozen=True)
class Account:
    """One line of the chooser."""

    session_id: str
    name: str
    email: str
    initials: str
    signed_in: bool


@in_transaction
def show_select_account() -> Response:
    """The people known on this browser."""
    pending = required_request()
    return render(
        "interaction/select_account.html",
        application=application_of(pending),
        action=page_url("select-account"),
        csrf_token=csrf_token(_purpose(pending)),
        request=pending.id,
        accounts=_accounts(ensure_browser()),
    )


@in_transaction
def submit_select_account() -> Response:
    """One of them, another, or one fewer."""
    pending, browser = required_request(), ensure_browser()
    check_csrf(_purpose(pending))
    browsers.lock_browser(current_work(), browser)
    known = {session.id: session for session in sessions.list_sessions(current_work(), browser)}
    removed = known.get(request.form.get("remove", ""))
    if removed is not None:
        sessions.forget_session(act_as_user(removed.user_id), browser, removed)
        return redirect_to(page_url("select-account", pending.id))
    return _go_on_as(known.get(request.form.get("choose", "")), pending, browser)


def _go_on_as(chosen: Session | None, pending: AuthorizationRequest, browser: Browser) -> Response:
    note_account_choice(pending, chosen)
    if chosen is not None and sessions.is_live(chosen, current_work().now):
        sessions.choose_session(current_work(), browser, chosen)
    return redirect_to(resume_url(pending))


def _purpose(pending: AuthorizationRequest) -> str:
    return f"select-account:{pending.id}"


def _accounts(browser: Browser) -> list[Account]:
    work = current_work()
    accounts = []
    for session in sessions.list_sessions(work, browser):
        user = find_user(work, session.user_id)
        if user is not None:
            is_signed_in = is_usable(work.now, session, user)
            accounts.append(
                Account(session.id, user.display_name, user.email, initials(user.display_name), is_signed_in)
            )
    return accounts
