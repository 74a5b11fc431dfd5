"""The page behind an invitation's link. Opening it uses nothing up: mail scanners open links too."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from flask import request
from flask.wrappers import Response

from server.domain import audit_log, roles
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Denied, DomainError, Expired, Invalid
from server.domain.invitations import Invitation, accept_invitation, find_invitation, state_of
from server.domain.login_flow import PASSWORD_AMR
from server.domain.memberships import find_membership
from server.domain.organizations import get_organization, lock_organization
from server.domain.passwords import set_password
from server.domain.policy.acr_ladder import acr_of
from server.domain.sessions import start_session, touch_session
from server.domain.users import User, create_user, email_key, find_user, find_user_by_email
from server.web.context import act_as_user, current_work
from server.web.csrf import check_csrf, csrf_token
from server.web.pages import page_url, person, redirect_to, render
from server.web.person import SignedIn, signed_in
from server.web.session_cookie import ensure_browser, known_browser, plant
from server.web.transaction import in_transaction

_GONE: Final = {"accepted": 410, "revoked": 410, "expired": 410, "suspended": 403}


@in_transaction
def show_invitation(token: str) -> Response:
    """Who invites to what, and the way to accept it."""
    ensure_browser()
    return _page(token)


@in_transaction
def submit_invitation(token: str) -> Response:
    """Accepts it: as the person who is signed in, or as a new one."""
    known_browser()
    check_csrf(_purpose(token))
    invitation, here = find_invitation(current_work(), token), signed_in()
    if invitation is None:
        return _page(token)
    if here is not None and _is_for(invitation, here.user):
        return _accept(token, invitation, here)
    # Held from here on: of two new accounts for one address the second finds the first.
    lock_organization(current_work(), invitation.organization_id)
    invitation = find_invitation(current_work(), token)
    if (
        invitation is None
        or _standing(invitation) != "open"
        or find_user_by_email(current_work(), invitation.email) is not None
    ):
        return _page(token)
    return _sign_up(token, invitation)


def _accept(token: str, invitation: Invitation, here: SignedIn) -> Response:
    work = act_as_user(here.user.id)
    is_in = find_membership(work, invitation.organization_id, here.user.id) is not None
    if state_of(invitation, work.now) == "accepted" and is_in:
        # The second half of a double click.
        return redirect_to(page_url("dashboard"))
    touch_session(work, here.session)
    try:
        with work.db.begin_nested():
            accept_invitation(work, invitation, here.user)
    except (Conflict, Denied, Expired) as fault:
        return _page(token, fault)
    return redirect_to(page_url("dashboard"))


def _sign_up(token: str, invitation: Invitation) -> Response:
    """Makes the account that the invitation is for, and signs the person in."""
    work, browser = current_work(), known_browser()
    name = " ".join(request.form.get("name", "").split())
    try:
        with work.db.begin_nested():
            # Only the mailbox's owner has a link that was mailed.
            is_verified = invitation.sent_at is not None
            user = create_user(work, invitation.email, name=name or None, email_verified=is_verified)
            set_password(work, user, request.form.get("password", ""))
            work = act_as_user(user.id)
            accept_invitation(work, invitation, user)
    except (Invalid, Conflict, Denied, Expired) as fault:
        return _page(token, fault)
    amr = [PASSWORD_AMR]
    _, secret = start_session(work, browser, user, amr=amr, acr=acr_of(work.settings.acr_ladder, amr))
    audit_log.record(work, AuditEvent.LOGIN_SUCCEEDED, user_id=user.id)
    plant(secret)
    return redirect_to(page_url("dashboard"))


def _purpose(token: str) -> str:
    return f"invitation:{token}"


def _is_for(invitation: Invitation, user: User) -> bool:
    return email_key(user.email) == invitation.email_key


def _standing(invitation: Invitation) -> str:
    """What became of it, or of its organization."""
    work = current_work()
    state = state_of(invitation, work.now)
    is_suspended = get_organization(work, invitation.organization_id).suspended_at is not None
    return "suspended" if state == "open" and is_suspended else state


def _page(token: str, fault: DomainError | None = None) -> Response:
    work, here = current_work(), signed_in()
    invitation = find_invitation(work, token)
    if invitation is None:
        return render("account/invitation_unknown.html", 404)
    standing = _standing(invitation)
    organization = get_organization(work, invitation.organization_id)
    inviter = find_user(work, invitation.invited_by) if invitation.invited_by else None
    if standing == "open":
        standing = _next_step(invitation, here)
    return render(
        "account/invitation.html",
        400 if fault else _GONE.get(standing, 200),
        action=page_url(f"invitations/{token}"),
        csrf_token=csrf_token(_purpose(token)),
        standing=standing,
        organization=organization.name,
        role=roles.title_of(work, organization.id, invitation.role),
        inviter=person(inviter) if inviter else None,
        email=invitation.email,
        expires_at=invitation.expires_at,
        here=person(here.user) if here else None,
        fault=fault,
        faulty_field=fault.field if isinstance(fault, Invalid) else None,
        name=request.form.get("name", ""),
        minimum_length=work.settings.password_minimum_length,
        login_url=f"{page_url('login')}?{urlencode({'next': f'/invitations/{token}'})}",
        dashboard_url=page_url("dashboard"),
    )


def _next_step(invitation: Invitation, here: SignedIn | None) -> str:
    """What the person has to do: `accept`, or first `sign_in`, `sign_up` or `switch` the account."""
    if here is not None and _is_for(invitation, here.user):
        return "accept"
    if find_user_by_email(current_work(), invitation.email) is None:
        return "sign_up"
    return "switch" if here is not None else "sign_in"
