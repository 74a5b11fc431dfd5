"""Rows to test with: made by the rules themselves, with defaults where a test does not care."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.audit_records import AuditRecord
from server.domain.authorization_codes import (
    AuthorizationCode,
    find_authorization_code,
    issue_authorization_code,
    redeem_authorization_code,
)
from server.domain.browsers import Browser, create_browser
from server.domain.client_registration import ClientMetadata, create_client
from server.domain.clients import Client
from server.domain.grants import Grant, Granted, SignInFacts, create_grant
from server.domain.passwords import set_password
from server.domain.policy.client_metadata import ClientType
from server.domain.refresh_tokens import PREFIX
from server.domain.sessions import Session, start_session
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User, create_user
from server.infra import secrets

REDIRECT_URI = "https://app.example.com/callback"


def make_user(work: UnitOfWork, email: str = "grace@example.com", password: str | None = None, **details: Any) -> User:
    user = create_user(work, email, **details)
    if password is not None:
        set_password(work, user, password)
    return user


def make_client(work: UnitOfWork, client_type: ClientType = "web", **metadata: Any) -> Client:
    goes_through_browsers = client_type in {"web", "spa", "native"}
    defaults: dict[str, Any] = {
        "client_name": "Sample app",
        "redirect_uris": (REDIRECT_URI,) if goes_through_browsers else (),
    }
    return create_client(work, ClientMetadata(client_type=client_type, **{**defaults, **metadata}))


def make_session(work: UnitOfWork, user: User, browser: Browser | None = None) -> tuple[Browser, Session]:
    browser = browser or create_browser(work)[0]
    session, _ = start_session(work, browser, user, amr=["pwd"], acr="1")
    return browser, session


def make_grant(
    work: UnitOfWork,
    client: Client | None = None,
    user: User | None = None,
    *,
    scope: str = "openid offline_access",
    session: Session | None = None,
) -> Grant:
    client, user = client or make_client(work), user or make_user(work)
    ends_at = session.ends_at if session else work.now + timedelta(days=14)
    facts = SignInFacts(session.id if session else "a-session", work.now, ["pwd"], "1", ends_at)
    return create_grant(work, client.id, user.id, Granted(frozenset(scope.split())), facts)


def find_grant(work: UnitOfWork, grant_id: str) -> Grant | None:
    """The grant of this id as the database has it now, or None."""
    return work.db.get(Grant, grant_id, populate_existing=True)


def make_refresh_token(work: UnitOfWork, grant: Grant) -> str:
    """As redeeming a code stores it."""
    known = find_authorization_code(work, issue_authorization_code(work, grant, REDIRECT_URI, None))
    assert known is not None
    token = secrets.new_secret(PREFIX)
    assert redeem_authorization_code(work, known, token)
    work.db.execute(delete(AuthorizationCode).where(AuthorizationCode.code_digest == known.row.code_digest))
    return token


def audited(work: UnitOfWork, event: AuditEvent) -> list[AuditRecord]:
    """The rows of this event, oldest first."""
    return list(reversed(audit_log.list_recent(work, event)))


def last_audited(work: UnitOfWork, event: AuditEvent) -> AuditRecord:
    rows = audited(work, event)
    assert rows, f"no audit row {event}"
    return rows[-1]
