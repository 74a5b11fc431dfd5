"""The login flow: from an address and a password to a session that records how the person signed in."""

from __future__ import annotations

from typing import Final

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.errors import Denied
from server.domain.passwords import verify_password
from server.domain.sessions import Browser, Session, start_session
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.users import find_user_by_email
from server.infra.database import commit_before_raising

#: RFC 8176 §2, and the class that `acr_values_supported` lists.
PASSWORD_AMR: Final = "pwd"
PASSWORD_ACR: Final = "1"

_REFUSAL: Final = "Email or password is incorrect."


def log_in_with_password(work: UnitOfWork, browser: Browser, email: str, password: str) -> tuple[Session, str]:
    """Signs a person in; returns the session and the browser's new cookie secret.

    Raises:
        Denied: with one sentence for every reason, so that it tells nothing about who has an account.
    """
    user = find_user_by_email(work, email)
    is_right = verify_password(work, user, password)
    if user is None or not is_right or not is_usable(work.now, user):
        audit_log.record(work, AuditEvent.LOGIN_FAILED, user_id=user.id if user else None)
        commit_before_raising(work.db)
        raise Denied(_REFUSAL)
    work = work.acting_as("user", user.id)
    session, secret = start_session(work, browser, user, amr=[PASSWORD_AMR], acr=PASSWORD_ACR)
    audit_log.record(work, AuditEvent.LOGIN_SUCCEEDED, user_id=user.id)
    return session, secret
