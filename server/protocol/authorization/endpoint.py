"""The authorization endpoint as a state machine over a stored row: begin, resume as often as needed, finish."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oauth2 import OAuth2Error

from server.domain import audit_log, redirect_uris, sessions
from server.domain.audit_events import AuditEvent
from server.domain.authorization_requests import (
    AuthorizationRequest,
    RequestState,
    find_request,
    finish_request,
    park_request,
)
from server.domain.browsers import Browser
from server.domain.clients import Client, find_client
from server.domain.sessions import Session
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.protocol.authorization.answer import issue_answer
from server.protocol.authorization.checks import run_checks
from server.protocol.authorization.context import AuthorizationContext, proven_client
from server.protocol.authorization.prompt import Progress, Step, next_step
from server.protocol.authorization.response_modes import AuthorizationResponse, encode_error, encode_response
from server.protocol.errors import AccessDenied, InvalidRequest, ProtocolError, UnauthorizedClient
from server.protocol.request import Parameters
from server.protocol.tokens.signed_response import prepare_to_encrypt

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PageNeeded:
    """The person has to do something first."""

    request: AuthorizationRequest
    progress: Progress


def begin(
    work: UnitOfWork, parameters: Parameters, browser: Browser | None
) -> AuthorizationRequest | AuthorizationResponse:
    """Checks a request and parks it, or answers it with an error.

    Raises:
        OAuth2Error: while client and redirect URI are not proven; it is shown, never redirected.
    """
    context = AuthorizationContext(work, parameters)
    try:
        run_checks(context)
    except OAuth2Error as error:
        if context.redirect_uri is None:
            if isinstance(error, ProtocolError):
                error.client = context.client
            raise
        log.info("authorization request refused: %s", error.error)
        prepare_to_encrypt(work, proven_client(context))
        return _answer_refusal(work, proven_client(context), _unchecked(context), error)
    return park_request(work, proven_client(context), context.as_stored(), browser)


def _unchecked(context: AuthorizationContext) -> dict[str, str | None]:
    """Where and how to answer a request that failed after its redirect URI was proven."""
    return {
        "redirect_uri": context.redirect_uri,
        "response_mode": context.response_mode,
        "response_type": context.response_type,
        "state": context.parameters.get("state"),
    }


def prepare(work: UnitOfWork, request_id: str) -> None:
    """Fetches what the answer to a parked request needs, before anything is written: that ends the transaction.

    Raises:
        InvalidRequest: when the client's keys cannot be had; the request stays as it is.
    """
    request = find_request(work, request_id)
    client = find_client(work, request.client_id) if request is not None else None
    if client is not None:
        prepare_to_encrypt(work, client)


def resume(
    work: UnitOfWork, request: AuthorizationRequest, browser: Browser | None
) -> PageNeeded | AuthorizationResponse:
    """Carries a parked request on: to the next page, or to its answer.

    Raises:
        UnauthorizedClient, InvalidRequest: when the client was disabled meanwhile, or gave the redirect URI up; it is
            shown, never redirected.
        Expired: when another visit answered the request first.
    """
    client = _usable_client(work, request)
    prepare_to_encrypt(work, client)
    try:
        progress = next_step(work, request, client, browser)
        if progress.session is not None and not sessions.lock_live_session(work, progress.session):
            # Signed out in this very moment; what is issued now would outlive it.
            progress = next_step(work, request, client, browser)
    except OAuth2Error as error:
        return _refuse(work, request, client, error)
    if progress.step is not Step.FINISH or progress.session is None or browser is None:
        return PageNeeded(request, progress)
    return _finish(work, request, client, progress.session, browser)


def progress_of(work: UnitOfWork, request: AuthorizationRequest, browser: Browser) -> Progress:
    """Where a parked request stands, without carrying it on.

    Raises:
        UnauthorizedClient: as `resume`.
        LoginRequired: when signing in cannot satisfy the request.
    """
    return next_step(work, request, _usable_client(work, request), browser)


def _usable_client(work: UnitOfWork, request: AuthorizationRequest) -> Client:
    client = find_client(work, request.client_id)
    if client is None or not is_usable(work.now, client):
        raise UnauthorizedClient("There is no such client.", parameter="client_id")
    if not redirect_uris.is_registered(
        request.parameters["redirect_uri"], client.redirect_uris, native=client.is_native
    ):
        raise InvalidRequest("redirect_uri is no longer registered for this client.", parameter="redirect_uri")
    return client


def deny(work: UnitOfWork, request: AuthorizationRequest, session: Session | None) -> AuthorizationResponse:
    """The person said no, on whichever page (RFC 6749 §4.1.2.1).

    Raises:
        UnauthorizedClient: as `resume`.
    """
    client = _usable_client(work, request)
    prepare_to_encrypt(work, client)
    if session is not None:
        work = work.acting_as("user", session.user_id)
    audit_log.record(
        work, AuditEvent.CONSENT_DENIED, client_id=request.client_id, user_id=session.user_id if session else None
    )
    return _refuse(work, request, client, AccessDenied("The person denied the request."))


def _refuse(
    work: UnitOfWork, request: AuthorizationRequest, client: Client, error: OAuth2Error
) -> AuthorizationResponse:
    finish_request(work, request, RequestState.REFUSED)
    return _answer_refusal(work, client, request.parameters, error)


def _answer_refusal(
    work: UnitOfWork, client: Client, parameters: Mapping[str, Any], error: OAuth2Error
) -> AuthorizationResponse:
    work.runtime.metrics.refuse("oauth.authorize", str(error.error))
    return encode_error(work, client, parameters, error)


def _finish(
    work: UnitOfWork, request: AuthorizationRequest, client: Client, session: Session, browser: Browser
) -> AuthorizationResponse:
    work = work.acting_as("user", session.user_id)
    finish_request(work, request, RequestState.CODED)
    sessions.touch_session(work, session)
    answer = issue_answer(work, request, client, session, browser)
    return encode_response(work, client, request.parameters, answer)
