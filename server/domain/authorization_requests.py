"""Authorization requests: what a client asked for, parked as a row while the person signs in and decides.

`pending → authenticated → consented → coded | refused`. The first visit binds the row to a browser; no other browser
can carry it on, and pages hold its id and nothing else.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ForeignKey, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import scopes
from server.domain.browsers import Browser
from server.domain.clients import Client
from server.domain.errors import Denied, Expired, NotFound
from server.domain.policy.lifetimes import is_expired
from server.domain.sessions import Session
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base, count_changed

_ID: Final = re.compile(r"[0-9A-Za-z]{22}")


class RequestState(StrEnum):
    """How far the request has come."""

    PENDING = "pending"
    AUTHENTICATED = "authenticated"
    CONSENTED = "consented"
    CODED = "coded"
    REFUSED = "refused"


class AuthorizationRequest(Base):
    """One request, from its arrival to its answer."""

    __tablename__ = "authorization_requests"

    id: Mapped[str] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"))
    browser_id: Mapped[str | None] = mapped_column(ForeignKey("browsers.id", ondelete="CASCADE"))
    #: The parameters as they were checked; nothing is read from a page again.
    parameters: Mapped[dict[str, Any]]
    state: Mapped[str]
    #: The session that is to answer, once one was made or chosen for this request.
    session_id: Mapped[str | None]
    #: Whether the person signed in in answer to this request, which `prompt=login` and `max_age` ask for.
    is_reauthenticated: Mapped[bool]
    is_account_chosen: Mapped[bool]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    finished_at: Mapped[datetime | None]

    @property
    def asked_scopes(self) -> frozenset[str]:
        """What the person is asked about: the scopes, and those that single claims belong to."""
        return scopes.parse(self.parameters["scope"]).union(self.parameters.get("claims_scopes", ()))


def park_request(
    work: UnitOfWork, client: Client, parameters: dict[str, Any], browser: Browser | None
) -> AuthorizationRequest:
    """Stores a checked request.

    Raises:
        NotFound: when its client was removed in this moment.
    """
    request = AuthorizationRequest(
        id=secrets.new_id(),
        client_id=client.id,
        browser_id=browser.id if browser else None,
        parameters=parameters,
        state=RequestState.PENDING,
        session_id=None,
        is_reauthenticated=False,
        is_account_chosen=False,
        created_at=work.now,
        expires_at=work.now + timedelta(seconds=work.settings.authorization_request_lifetime),
        finished_at=None,
    )
    work.db.add(request)
    try:
        work.db.flush()
    except IntegrityError as error:
        work.db.rollback()
        raise NotFound("This app was removed a moment ago.") from error
    return request


def find_request(work: UnitOfWork, request_id: str) -> AuthorizationRequest | None:
    """The request of this id, whoever may carry it on, or None."""
    return work.db.get(AuthorizationRequest, request_id) if _ID.fullmatch(request_id) else None


def get_open_request(work: UnitOfWork, request_id: str, browser: Browser | None) -> AuthorizationRequest:
    """The unfinished request of this id, if this browser may carry it on; an unbound one is bound to it.

    Raises:
        NotFound: when there is none.
        Denied: when it belongs to another browser.
        Expired: when it was answered already or its time is over.
    """
    request = find_request(work, request_id)
    if request is None:
        raise NotFound("This sign-in request is not known.")
    if browser is not None and request.browser_id is None:
        request.browser_id = browser.id
    if browser is None or request.browser_id != browser.id:
        raise Denied("This sign-in request was started in another browser.")
    if request.finished_at is not None:
        raise Expired("This sign-in request has been answered already.", request.client_id)
    if is_expired(work.now, request.expires_at):
        raise Expired("This sign-in request has expired.", request.client_id)
    return request


def note_login(request: AuthorizationRequest, session: Session) -> None:
    """The person signed in for this request."""
    request.session_id = session.id
    request.is_reauthenticated = request.is_account_chosen = True
    request.state = RequestState.AUTHENTICATED


def note_account_choice(request: AuthorizationRequest, session: Session | None) -> None:
    """The person chose an account, or another than those known (None), which they will sign in with."""
    request.session_id = session.id if session else None
    request.is_account_chosen = True
    request.is_reauthenticated = False
    # Whatever was proven or allowed before was another person's.
    request.state = RequestState.PENDING


def note_consent(request: AuthorizationRequest, session: Session) -> None:
    """The person behind `session` allowed what was asked."""
    request.session_id = session.id
    request.state = RequestState.CONSENTED


def finish_request(work: UnitOfWork, request: AuthorizationRequest, state: RequestState) -> None:
    """Closes the request with its one answer.

    Raises:
        Expired: when another visit answered it first.
    """
    statement = (
        update(AuthorizationRequest)
        .where(AuthorizationRequest.id == request.id, AuthorizationRequest.finished_at.is_(None))
        .values(state=state, finished_at=work.now)
    )
    if count_changed(work.db, statement) != 1:
        raise Expired("This sign-in request has been answered already.", request.client_id)
