"""Signing out: asked first, then done for everybody signed in on this browser."""

from __future__ import annotations

from flask import request
from flask.wrappers import Response

from server.domain import sessions
from server.web.authorization_response import redirect_to
from server.web.context import act_as_user, current_work
from server.web.csrf import check_csrf, csrf_token
from server.web.interaction.signed_in import signed_in_users
from server.web.pages import page_url, person, render
from server.web.session_cookie import known_browser, plant, superseded_browser
from server.web.transaction import in_transaction

_PURPOSE = "logout"


@in_transaction
def show_logout() -> Response:
    """The question; who is not signed in is told so."""
    people = [person(user) for user in signed_in_users()]
    if not people:
        return redirect_to(page_url("signed-out"))
    return render(
        "interaction/logout.html",
        people=people,
        action=page_url("logout"),
        csrf_token=csrf_token(_PURPOSE),
        request=None,
    )


@in_transaction
def submit_logout() -> Response:
    """Ends every session of this browser, or none."""
    check_csrf(_PURPOSE)
    if request.form.get("decision") != "sign_out":
        return redirect_to(page_url(""))
    superseded = superseded_browser()
    if superseded is not None and superseded.current_session_id is None:
        # The second half of a double click: the first has done it.
        return redirect_to(page_url("signed-out"))
    browser = known_browser()
    plant(sessions.replace_secret(current_work(), browser))
    for session in sessions.list_sessions(current_work(), browser):
        sessions.end_session(act_as_user(session.user_id), browser, session)
    response = redirect_to(page_url("signed-out"))
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def show_signed_out() -> Response:
    """The end."""
    return render("interaction/signed_out.html", application=None, return_url=None)
