"""The consent page: who asks, for what, and where the answer goes (OpenID Connect Core §3.1.2.4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import request
from flask.wrappers import Response

from server.config import Settings
from server.domain import consents, scopes
from server.domain.authorization_requests import AuthorizationRequest, note_consent
from server.domain.errors import NotFound
from server.domain.sessions import Session
from server.domain.users import User, find_user
from server.protocol.authorization import endpoint
from server.protocol.authorization.prompt import Step
from server.web.authorization_response import application_of, resume_url, send
from server.web.context import act_as_user, current_gatepost, current_work
from server.web.csrf import check_csrf, csrf_token
from server.web.interaction.pending import required_request
from server.web.pages import duration, page_url, person, redirect_to, render
from server.web.session_cookie import ensure_browser
from server.web.transaction import in_transaction


@dataclass(frozen=True)
class ScopeLine:
    """One line of the list."""

    name: str
    sentence: str
    detail: str | None
    sensitive: bool
    icon: str
    is_new: bool
    #: What comes with it, as sentences.
    includes: list[str]


@in_transaction
def show_consent() -> Response:
    """The question; when it is not this page's turn, wherever the request stands."""
    pending = required_request()
    session = _consenting_session(pending)
    return _consent_page(pending, session) if session else redirect_to(resume_url(pending))


@in_transaction
def submit_consent() -> Response:
    """The answer, bound to this person's session and this request."""
    pending = required_request()
    session = _consenting_session(pending)
    if session is None:
        return redirect_to(resume_url(pending))
    check_csrf(_purpose(pending, session))
    if request.form.get("decision") != "allow":
        return send(endpoint.deny(current_work(), pending, session))
    consents.give_consent(act_as_user(session.user_id), session.user_id, pending.client_id, pending.asked_scopes)
    note_consent(pending, session)
    return redirect_to(resume_url(pending))


def _consenting_session(pending: AuthorizationRequest) -> Session | None:
    """The session whose person is asked now, or None when something else comes first or nothing is left to ask."""
    progress = endpoint.progress_of(current_work(), pending, ensure_browser())
    return progress.session if progress.step is Step.CONSENT else None


def _purpose(pending: AuthorizationRequest, session: Session) -> str:
    return f"consent:{pending.id}:{session.id}"


def _consent_page(pending: AuthorizationRequest, session: Session) -> Response:
    work = current_work()
    user = _user(session)
    consent = consents.find_consent(work, user.id, pending.client_id)
    remembered = frozenset(consent.scopes) if consent else frozenset()
    asked = pending.asked_scopes - {scopes.OPENID}
    return render(
        "interaction/consent.html",
        application=application_of(pending),
        person=person(user),
        action=page_url("consent"),
        csrf_token=csrf_token(_purpose(pending, session)),
        request=pending.id,
        switch_account_url=page_url("select-account", pending.id),
        scopes=_lines(asked - remembered, is_new=bool(remembered)),
        already_allowed=_lines(asked & remembered, is_new=False),
        already_allowed_since=_since(consent),
        outlasts_session=scopes.OFFLINE_ACCESS in scopes.parse(pending.parameters["scope"]),
        lifetime=duration(_lifetime(pending, session)),
    )


def _lifetime(pending: AuthorizationRequest, session: Session) -> int:
    """Seconds the grant would last, as `create_grant` has it."""
    work = current_work()
    longest = work.settings.refresh_token_lifetime
    if scopes.OFFLINE_ACCESS in scopes.parse(pending.parameters["scope"]):
        return longest
    return min(longest, int((session.ends_at - work.now).total_seconds()))


def _since(consent: consents.Consent | None) -> datetime | None:
    return consent.created_at if consent else None


def _user(session: Session) -> User:
    user = find_user(current_work(), session.user_id)
    if user is None:
        raise NotFound("This account no longer exists.")
    return user


def _lines(names: frozenset[str], *, is_new: bool) -> list[ScopeLine]:
    """The scopes as a person reads them, sensitive ones first, then as the catalogue has them."""
    settings = current_gatepost().runtime.settings
    order = {name: place for place, name in enumerate(scopes.catalogue(settings))}
    in_order = sorted(names, key=lambda name: (order.get(name, len(order)), name))
    return sorted((_line(settings, name, is_new=is_new) for name in in_order), key=lambda line: not line.sensitive)


def _line(settings: Settings, name: str, *, is_new: bool) -> ScopeLine:
    scope = scopes.describe(settings, name)
    included = [other.sentence for other in scopes.included(settings, name)]
    return ScopeLine(name, scope.sentence, scope.detail, scope.sensitive, scope.icon, is_new, included)
