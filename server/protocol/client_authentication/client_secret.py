"""Presented credentials against the registry: the client is known by its registered method alone (RFC 6749 §2.3.1)."""

from __future__ import annotations

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.client_attempts import check_may_authenticate, count_failure
from server.domain.client_secrets import verify_client_secret
from server.domain.clients import Client, registered_client
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import why_unusable
from server.infra.database import commit_before_raising
from server.protocol.client_authentication.client_assertion import KEYS_UNAVAILABLE, why_assertion_refused
from server.protocol.client_authentication.presented import PresentedCredentials, presented_credentials
from server.protocol.errors import InvalidClient
from server.protocol.registered_client import RegisteredClient
from server.protocol.request import ProtocolRequest


def authenticate_client(request: ProtocolRequest, *, allow_public: bool = True) -> RegisteredClient:
    """The client that the request proves to come from.

    Args:
        request: the request, whose `client` and `auth_method` are set.
        allow_public: whether clients without a secret may use this endpoint.

    Raises:
        InvalidRequest: when two methods are presented.
        InvalidClient: for every other failure, with one text for all of them.
    """
    try:
        presented = presented_credentials(request)
    except InvalidClient as error:
        _note_failure(request.work, None, error.detail)
        raise
    check_may_authenticate(request.work, presented.client_id)
    client = registered_client(request.work, presented.client_id)
    reason = _why_refused(request.work, client, presented, allow_public)
    if client is None or reason is not None:
        _note_failure(request.work, client, reason or "unknown client", presented)
        used_header = presented.method == "client_secret_basic"
        raise InvalidClient(detail=reason or "", realm=request.work.settings.issuer if used_header else None)
    registered = RegisteredClient(client)
    request.work = request.work.acting_as("client", client.id)
    if not client.is_public:
        request.work.runtime.usage.note_use("client", client.id, request.work.actor)
    request.client, request.auth_method = registered, presented.method
    return registered


def _why_refused(
    work: UnitOfWork, client: Client | None, presented: PresentedCredentials, allow_public: bool
) -> str | None:
    if client is None:
        return "unknown client"
    if presented.method != client.token_endpoint_auth_method:
        return "not the registered authentication method"
    if client.is_public:
        reason = None if allow_public else "a public client may not use this endpoint"
    elif presented.assertion is not None:
        reason = why_assertion_refused(work, client, presented.assertion)
    else:
        is_right = presented.secret is not None and verify_client_secret(work, client, presented.secret)
        reason = None if is_right else "wrong client secret"
    return reason or why_unusable(work.now, client)


def _note_failure(
    work: UnitOfWork, client: Client | None, reason: str, presented: PresentedCredentials | None = None
) -> None:
    # Nothing was written yet; a transaction of its own, as this one may have begun for reading only.
    work.db.rollback()
    if presented is not None and presented.method != "none" and reason != KEYS_UNAVAILABLE:
        count_failure(work, presented.client_id)
        if client is not None:
            work.runtime.usage.note_failure("client", client.id, reason, work.actor)
    audit_log.record(
        work, AuditEvent.CLIENT_AUTHENTICATION_FAILED, client_id=client.id if client else None, reason=reason
    )
    commit_before_raising(work.db)
