"""Signing out: for a client that proves whose session it means, or for whoever says so on our page.

What follows is the same: the sessions end, clients are told through their back channel by the outbox and through the
browser by a page of frames (OpenID Connect Front-Channel Logout 1.0 §2), and the browser goes where the client wants.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import request
from flask.wrappers import Response

from server.domain import logout, redirect_uris, sessions
from server.domain.browsers import Browser
from server.domain.errors import Denied
from server.domain.sessions import Session
from server.protocol.end_session import PROOF, EndSessionRequest, check_request, prove, with_proof
from server.protocol.errors import InvalidRequest
from server.protocol.request import FORM, Parameters
from server.web.context import act_as_user, current_gatepost, current_work
from server.web.csrf import check_csrf, csrf_token
from server.web.error_pages import error_page
from server.web.pages import Application, client_alone, page_url, person, redirect_to, render
from server.web.person import signed_in_users
from server.web.security_headers import frames, runs_own_script
from server.web.session_cookie import current_browser, known_browser, plant, superseded_browser
from server.web.transaction import in_transaction

_PURPOSE = "logout"
#: What our own form carries, and no client's.
_OWN_FIELDS = ("csrf_token", "decision")


@dataclass(frozen=True)
class Frame:
    """A client's own page that signs the person out there."""

    name: str
    url: str


@dataclass(frozen=True)
class Onward:
    """Where somebody wants the person to go, and how that is called on a page."""

    place: str
    url: str


@in_transaction
def show_logout() -> Response:
    """Signs out at once when the client proves whose session it means; asks otherwise; tells who is not signed in."""
    try:
        parameters = Parameters.decode_bytes(request.environ.get("QUERY_STRING", "").encode("latin-1"))
        asked = with_proof(current_work(), check_request(current_work(), parameters), parameters.get(PROOF))
    except InvalidRequest as error:
        return _refuse(error)
    people = signed_in_users()
    meant = _meant_session(asked)
    if meant is not None and any(meant.user_id == user.id for user in people):
        return _sign_out([meant], asked)
    if not people:
        return _offer_to_go_on(asked) if asked.target and asked.sid is None else _go_on(asked, _just_ended())
    return render(
        "interaction/logout.html",
        people=[person(user) for user in people],
        application=client_alone(asked.client),
        action=page_url("logout"),
        csrf_token=csrf_token(_PURPOSE),
        carried=asked.as_fields(),
        request=None,
    )


@in_transaction
def submit_logout() -> Response:
    """Our own form: ends every session of this browser, or none. A client's form comes without our cookie.

    It is `SameSite=Lax`: the browser sends it when the client's request comes again as a GET, without the ID token.
    """
    body = request.get_data(cache=True)
    if not any(name in request.form for name in _OWN_FIELDS):
        return _ask_again(body)
    check_csrf(_PURPOSE)
    if request.form.get("decision") != "sign_out":
        return redirect_to(page_url(""))
    try:
        asked = check_request(current_work(), Parameters.decode_bytes(body))
    except InvalidRequest as error:
        return _refuse(error)
    superseded = superseded_browser()
    if superseded is not None and superseded.current_session_id is None:
        # The second half of a double click: the first has done it.
        return _go_on(asked, _just_ended())
    return _sign_out(sessions.list_sessions(current_work(), known_browser()), asked)


def show_signed_out() -> Response:
    """The end."""
    return _signed_out()


def _ask_again(body: bytes) -> Response:
    try:
        if body and request.mimetype != FORM:
            raise InvalidRequest(f"The body must be {FORM}.")
        asked = check_request(current_work(), Parameters.decode_bytes(body))
    except InvalidRequest as error:
        return _refuse(error)
    proof = prove(current_work(), asked)
    known = asked.as_fields() | ({PROOF: proof} if proof is not None else {})
    return redirect_to(page_url("logout") + (f"?{urlencode(known)}" if known else ""))


def _refuse(error: InvalidRequest) -> Response:
    current_gatepost().runtime.metrics.refuse(request.endpoint or "unknown", str(error.error))
    return error_page(
        400,
        "This sign-out link isn't valid",
        "The app you came from sent us a request we can't accept. You have not been signed out.",
        advice="Go back to the app and try again. If it happens again, the app's developer has to mend it.",
        application=client_alone(error.client),
        code=error.error,
        description=error.description,
        parameter=error.parameter,
    )


def _meant_session(asked: EndSessionRequest) -> Session | None:
    """The session on this browser that the client's ID token names, live or replaced by signing in again."""
    browser = current_browser()
    if browser is None or asked.client is None or asked.sid is None:
        return None
    return sessions.find_told_session(current_work(), browser, asked.client.id, asked.sid)


def _just_ended() -> list[str]:
    """What ended here a moment ago, for an answer that did not reach the browser."""
    browser: Browser | None = current_browser() or superseded_browser()
    return sessions.list_just_ended(current_work(), browser) if browser is not None else []


def _sign_out(ending: Collection[Session], asked: EndSessionRequest) -> Response:
    browser = known_browser()
    try:
        plant(sessions.replace_secret(current_work(), browser))
    except Denied:
        if sessions.has_live_session(current_work(), browser, [session.user_id for session in ending]):
            raise
        # Of several such requests at once this one was not the first: what it asks is done.
        return _go_on(asked, _just_ended())
    ended = [
        session_id
        for session in ending
        for session_id in sessions.end_session(act_as_user(session.user_id), browser, session)
    ]
    response = _go_on(asked, ended)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def _go_on(asked: EndSessionRequest, ended: Collection[str]) -> Response:
    """To the client, or to our own last page; by way of the frames of all clients that have some."""
    target = asked.target or page_url("signed-out")
    shown = _frames(ended)
    if shown:
        runs_own_script()
        frames(sorted({redirect_uris.origin_of(frame.url) for frame in shown}))
        return render("interaction/frontchannel_logout.html", frames=shown, target=target)
    if asked.target is None and asked.client is not None and asked.client.client_uri is not None:
        return _signed_out(client_alone(asked.client))
    return redirect_to(target)


def _offer_to_go_on(asked: EndSessionRequest) -> Response:
    """A link to where a request wants to go that nothing proves: nobody was asked, so nobody is sent (§3)."""
    _, place = redirect_uris.describe_target(asked.redirect_uri or "")
    return _signed_out(onward=Onward(place, asked.target or ""))


def _signed_out(back_to: Application | None = None, onward: Onward | None = None) -> Response:
    return render("interaction/signed_out.html", application=back_to, onward=onward)


def _frames(ended: Collection[str]) -> list[Frame]:
    """The front-channel logout URIs of the sessions' clients, each with the `iss` and `sid` it knows (§2)."""
    issuer = current_gatepost().runtime.settings.issuer
    found = []
    for client, session_id in logout.clients_of(current_work(), ended):
        uri = client.frontchannel_logout_uri
        # A host that a policy cannot name (an IPv6 address) would not be shown anyway.
        if uri is not None and "[" not in uri:
            query = urlencode({"iss": issuer, "sid": logout.sid_of(session_id, client.id)})
            found.append(Frame(client.client_name, f"{uri}{'&' if '?' in uri else '?'}{query}"))
    return found
