"""The login flow: from an address and a password to a session that records how the person signed in."""

from __future__ import annotations

from typing import Final

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.authorization_requests import AuthorizationRequest, note_login
from server.domain.browsers import Browser
from server.domain.errors import Denied, TooMany
from server.domain.first_sign_in import sign_in_first
from server.domain.login_attempts import give_back, spend_attempt
from server.domain.passwords import is_password, needs_renewal, still_opens
from server.domain.policy.acr_ladder import acr_of
from server.domain.policy.lockout import Budget, budgets_for
from server.domain.sessions import Session, has_signed_in, start_session
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.users import User, email_key, read_user_by_email
from server.infra import secrets
from server.infra.database import commit_before_raising

#: RFC 8176 §2: the ways to sign in.
PASSWORD_AMR: Final = "pwd"
METHODS: Final = (PASSWORD_AMR,)

_REFUSAL: Final = "Email or password is incorrect."


def log_in_with_password(
    work: UnitOfWork, browser: Browser, email: str, password: str, request: AuthorizationRequest | None = None
) -> tuple[Session, str]:
    """Signs a person in, for a pending request if there is one; returns the session and the browser's new secret.

    The attempt is counted and committed before the password is looked at: simultaneous guesses all count, and no
    transaction waits while a password is hashed.

    Raises:
        TooMany: when the account's, the device's or the network's budget is used up.
        Denied: with one sentence for every other reason, so that it tells nothing about who has an account.
    """
    user = read_user_by_email(work, email)
    budgets = _budgets(work, browser, user, email)
    _spend_attempt(work, user, budgets)
    # Whoever may not sign in costs the time of somebody who does not exist, whatever the password.
    candidate = user if is_usable(work.now, user) else None
    signed_in = None
    if is_password(work, candidate, password) and user is not None:
        signed_in = _sign_in(work.acting_as("user", user.id), browser, user, password, budgets, request)
    if signed_in is None:
        audit_log.record(work, AuditEvent.LOGIN_FAILED, user_id=user.id if user else None)
        commit_before_raising(work.db)
        raise Denied(_REFUSAL)
    return signed_in


def _sign_in(
    work: UnitOfWork,
    browser: Browser,
    user: User,
    password: str,
    budgets: tuple[Budget, ...],
    request: AuthorizationRequest | None,
) -> tuple[Session, str] | None:
    """The session of whoever has just proven to be `user`; None when the proof is no longer good."""
    amr = [PASSWORD_AMR]
    acr = acr_of(work.settings.acr_ladder, amr)
    signed_in = None
    if not needs_renewal(work, user):
        if request is not None:
            # The session and what the request says of it are one transaction.
            work.db.connection()
        signed_in = sign_in_first(work, browser, user, (amr, acr), budgets)
    if signed_in is None:
        if not still_opens(work, user, password):
            return None
        give_back(work, budgets)
        signed_in = start_session(work, browser, user, amr=amr, acr=acr)
        audit_log.record(work, AuditEvent.LOGIN_SUCCEEDED, user_id=user.id)
    if request is not None:
        note_login(request, signed_in[0])
    return signed_in


def _budgets(work: UnitOfWork, browser: Browser, user: User | None, email: str) -> tuple[Budget, ...]:
    known_browser_id = browser.id if has_signed_in(work, browser, user) else None
    account, per_minute = secrets.digest(email_key(email)), work.settings.login_failures_per_minute
    return budgets_for(account, work.actor.ip, known_browser_id, per_minute)


def _spend_attempt(work: UnitOfWork, user: User | None, budgets: tuple[Budget, ...]) -> None:
    try:
        spend_attempt(work, budgets)
    except TooMany:
        audit_log.record(work, AuditEvent.LOGIN_LIMITED, user_id=user.id if user else None)
        commit_before_raising(work.db)
        raise
