"""The sign-in page (OpenID Connect Core §3.1.2.3)."""

from __future__ import annotations

from flask import request
from flask.wrappers import Response

from server.domain.authorization_requests import AuthorizationRequest
from server.domain.browsers import Browser
from server.domain.errors import Denied, TooMany
from server.domain.login_flow import log_in_with_password
from server.domain.sessions import Session, find_session, has_signed_in, is_live
from server.domain.users import User, find_user
from server.protocol.authorization import endpoint
from server.web.authorization_response import application_of, resume_url, send
from server.web.context import current_work
from server.web.csrf import check_csrf, csrf_token, has_current_token, is_same_origin
from server.web.interaction.pending import pending_request
from server.web.pages import page_url, person, redirect_to, render
from server.web.person import return_path, signed_in
from server.web.session_cookie import ensure_browser, known_browser, plant, presenting_browser, superseded_browser
from server.web.transaction import in_transaction


@in_transaction
def show_login() -> Response:
    """The form, with what is known about who is expected."""
    return _login_page(pending_request(), ensure_browser(), error=None)


@in_transaction
def submit_login() -> Response:
    """Signs in, or takes the person back to the client."""
    superseded = superseded_browser() if presenting_browser() is None else None
    browser = superseded or known_browser()
    pending = pending_request(browser)
    if pending is not None and is_same_origin() and not has_current_token(_purpose(pending)):
        # The person has signed in in another tab since this page was shown: go on with what that made of the request.
        return redirect_to(resume_url(pending))
    check_csrf(_purpose(pending))
    if request.form.get("decision") == "cancel" and pending is not None:
        # With a superseded cookie this refuses: it may repeat a sign-in (a double click), nothing else.
        known_browser()
        return send(endpoint.deny(current_work(), pending, None))
    try:
        _, secret = log_in_with_password(
            current_work(), browser, request.form.get("username", ""), request.form.get("password", ""), pending
        )
    except Denied as refusal:
        if superseded is not None:
            raise
        return _login_page(pending, browser, error=str(refusal), status=400)
    except TooMany as refusal:
        if superseded is not None:
            raise
        page = _login_page(pending, browser, error=f"{refusal} Try again in {_words(refusal.retry_after)}.", status=429)
        page.headers["Retry-After"] = str(refusal.retry_after)
        return page
    plant(secret)
    if pending is None:
        return redirect_to(page_url((return_path(request.form.get("next")) or "/").removeprefix("/")))
    return redirect_to(resume_url(pending))


def _words(seconds: int) -> str:
    """A span of time as a person says it, rounded up."""
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = -(-seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} second{'s' if seconds > 1 else ''}"


def _purpose(pending: AuthorizationRequest | None) -> str:
    return f"login:{pending.id if pending else ''}"


def _login_page(
    pending: AuthorizationRequest | None, browser: Browser, error: str | None, status: int = 200
) -> Response:
    known = _expected_user(pending, browser)
    user, must_confirm = known if known is not None else (None, False)
    hint = (pending.parameters["login_hint"] if pending else None) or ""
    return render(
        "interaction/login.html",
        status,
        application=application_of(pending) if pending else None,
        action=page_url("login"),
        csrf_token=csrf_token(_purpose(pending)),
        request=pending.id if pending else None,
        email=request.form.get("username") or (user.email if user else hint),
        error=error,
        confirm_identity=must_confirm,
        person=person(user) if user and must_confirm else None,
        can_cancel=pending is not None,
        next=return_path(request.values.get("next")),
    )


def _expected_user(pending: AuthorizationRequest | None, browser: Browser) -> tuple[User, bool] | None:
    """Who is expected to sign in, and whether they are signed in already and only have to confirm it."""
    if pending is None:
        found = signed_in() if request.values.get("confirm") == "1" else None
        return (found.user, True) if found is not None else None
    if pending.is_account_chosen and pending.session_id is None:
        return None
    work = current_work()
    session = _session(pending.session_id or browser.current_session_id)
    hinted = find_user(work, pending.parameters["hint_subject"]) if pending.parameters["hint_subject"] else None
    if hinted is not None and (session is None or session.user_id != hinted.id):
        # A client knows a `sub`, perhaps of its own; whose address that is, only a browser they used may show.
        return (hinted, False) if has_signed_in(work, browser, hinted) else None
    user = find_user(work, session.user_id) if session else None
    return (user, is_live(session, work.now)) if session is not None and user is not None else None


def _session(session_id: str | None) -> Session | None:
    return find_session(current_work(), session_id) if session_id else None
