"""`/v1/verify`: may this request pass? For gateways: nginx's auth_request, Traefik's ForwardAuth, Envoy's ext_authz.

The answer is 200 with headers that say who asks, or 400, 401, 403 or 429 with the body that the client is to get; it
stands in `X-Auth-Refusal` too, since nginx reads no body here. `verify_request` answers on both lanes, so that they
cannot differ. What a gateway may require is in `gateway_question.py`; `docs/verification.md` has whole configurations.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from flask import request
from flask.wrappers import Response
from pydantic import Field

from server.domain import audit_log, scopes
from server.domain.actor import ActorKind
from server.domain.audit_events import AuditEvent
from server.domain.credential_limits import Allowance, spend_request
from server.domain.errors import TooMany
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import commit_before_raising
from server.protocol.authorization_server import EndpointResponse
from server.protocol.credentials import CredentialRefused, VerifiedCredential, verify_credential
from server.protocol.metadata import encode_document
from server.web.api.carriers import ACCESS_TOKEN, check_carriers
from server.web.api.documents import Document
from server.web.api.error_answers import CODES, Refusal
from server.web.api.gateway_question import Question, path_below, read_question
from server.web.api.operation import Operation
from server.web.api.verified_organization import ForeignOrganization, enter_organization
from server.web.context import current_gatepost, current_work
from server.web.machine_errors import RETRY_AFTER_SECONDS, note_fault
from server.web.transaction import in_transaction

log = logging.getLogger(__name__)

REFUSAL_HEADER: Final = "X-Auth-Refusal"
_OPERATION: Final = "verify"
#: Printable ASCII but the percent sign: what stands in a header as it is.
_PLAIN: Final = "".join(chr(number) for number in range(0x20, 0x7F) if chr(number) != "%")


class VerifiedIdentity(Document):
    """Who asks; every member stands in a header too."""

    type: str = Field(description="`api_key`, `access_token` or `client_token`. Header: `X-Auth-Type`.")
    subject: str = Field(description="The key's id, or the `sub` of the token. `X-Auth-Subject`.")
    organization: str | None = Field(None, description="The organization's id. `X-Auth-Organization`.")
    environment: str = Field(description="`live` or `test`. `X-Auth-Environment`.")
    scope: str = Field(description="What was granted, patterns included, separated by spaces. `X-Auth-Scope`.")
    key_id: str | None = Field(None, description="The API key, also behind a token. `X-Auth-Key-Id`.")
    client_id: str | None = Field(None, description="The OAuth client. `X-Auth-Client-Id`.")
    user_id: str | None = Field(None, description="The person who allowed it. `X-Auth-User-Id`.")
    email: str | None = Field(None, description="Their address, where `email` was granted. `X-Auth-Email`.")


@in_transaction
def verify(**_below: str) -> Response:
    """Answers a gateway by way of Flask."""
    answer = verify_request(current_work(), request.environ)
    body = answer.body if isinstance(answer.body, Mapping) else {}
    if answer.status >= 400:
        current_gatepost().runtime.metrics.refuse(request.endpoint or "unknown", body["error"])
    return Response(encode_document(body), answer.status, dict(answer.headers), mimetype="application/json")


def verify_request(work: UnitOfWork, environ: Mapping[str, Any]) -> EndpointResponse:
    """The answer to a gateway; nothing is raised, and the body is always an object."""
    try:
        return _verified(work, environ)
    except Refusal as refusal:
        return _refused(work, refusal.status, str(refusal), refusal.headers)
    except TooMany as error:
        return _refused(work, 429, str(error), {"Retry-After": str(error.retry_after)})
    except Exception as error:  # noqa: BLE001  # a gateway reads every fault as a refusal
        return fault_answer(error, work.actor.request_id)


def fault_answer(error: BaseException, request_id: str | None) -> EndpointResponse:
    """The answer when the fault is ours, which is logged."""
    if note_fault(error):
        wait = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return _refusal(503, "Try again in a moment.", request_id, wait)
    return _refusal(500, "Something went wrong on our side.", request_id, {})


def _verified(work: UnitOfWork, environ: Mapping[str, Any]) -> EndpointResponse:
    below = path_below(environ["PATH_INFO"], work.settings.issuer_path)
    if below is None:
        raise Refusal(404, "There is nothing at this address.")
    question = read_question(environ, below)
    credential = _authenticate(work, environ, question)
    work = work.acting_as(*_actor_of(credential))
    _check_environment(work, credential, question)
    key = credential.key
    allowance = spend_request(work, key.key.id, key.key.rate_limit_per_minute) if key is not None else None
    try:
        organization_id, rights = enter_organization(work, credential, question.required.organizations, environ)
    except ForeignOrganization:
        _note(work, credential, "organization")
        raise
    # What speaks about a person is theirs to give, and no matter of their role.
    personal = credential.scope_set & scopes.PERSONAL
    missing = rights.excess(question.required.scopes - personal)
    if missing:
        raise _forbidden(work, credential, missing)
    return _passed(credential, organization_id, scopes.format_scopes(rights.granted | personal), allowance)


def _authenticate(work: UnitOfWork, environ: Mapping[str, Any], question: Question) -> VerifiedCredential:
    query = question.query((ACCESS_TOKEN, *work.settings.api_key_prefixes.values()))
    presented = check_carriers(work, environ, query, _OPERATION)
    if presented is None:
        raise Refusal(401, "Send an API key or an access token: Authorization: Bearer …", _challenge(work))
    try:
        return verify_credential(work, presented, for_scim=question.is_for_scim)
    except CredentialRefused as error:
        log.info("refused: %s", error.reason)
        raise _unknown(work) from error


def _check_environment(work: UnitOfWork, credential: VerifiedCredential, question: Question) -> None:
    """A test key at a live API is answered like a key that does not exist."""
    if credential.environment in question.required.environments:
        return
    _note(work, credential, "environment")
    raise _unknown(work)


def _unknown(work: UnitOfWork) -> Refusal:
    """The one answer to every credential that is not accepted."""
    sentence = "The credential is malformed, unknown, expired or revoked."
    return Refusal(401, sentence, _challenge(work, error="invalid_token"))


def _forbidden(work: UnitOfWork, credential: VerifiedCredential, missing: frozenset[str]) -> Refusal:
    named = " ".join(sorted(scope for scope in missing if scopes.is_well_formed(scope)))
    _note(work, credential, "insufficient_scope", needed=named)
    challenge = _challenge(work, error="insufficient_scope", scope=named)
    return Refusal(403, "The credential does not have the scope that this needs.", challenge)


def _note(work: UnitOfWork, credential: VerifiedCredential, reason: str, **details: str) -> None:
    """Leaves what a refusal must leave: a row, and the key's count of failures."""
    audit_log.record_soon(
        work,
        AuditEvent.API_REQUEST_REFUSED,
        client_id=credential.client.id if credential.client is not None else None,
        user_id=credential.user.id if credential.user is not None else None,
        organization_id=credential.organization_id,
        environment=credential.environment,
        operation=_OPERATION,
        reason=reason,
        **details,
    )
    if work.is_in_transaction:
        commit_before_raising(work.db)
    if credential.key is not None:
        work.runtime.usage.note_failure("api_key", credential.key.key.id, reason, work.actor)


def _challenge(work: UnitOfWork, **parameters: str) -> dict[str, str]:
    """RFC 6750 §3."""
    given = {"realm": work.settings.issuer, **{name: value for name, value in parameters.items() if value}}
    return {"WWW-Authenticate": "Bearer " + ", ".join(f'{name}="{value}"' for name, value in given.items())}


def _actor_of(credential: VerifiedCredential) -> tuple[ActorKind, str]:
    if credential.key is not None:
        return "api_key", credential.key.key.id
    if credential.user is not None:
        return "user", credential.user.id
    return "client", credential.client.id if credential.client is not None else credential.subject


def _passed(
    credential: VerifiedCredential, organization_id: str | None, scope: str, allowance: Allowance | None
) -> EndpointResponse:
    user, key, client = credential.user, credential.key, credential.client
    found = {
        "type": credential.kind,
        "subject": credential.subject,
        "organization": organization_id,
        "environment": credential.environment,
        "scope": scope,
        "keyId": key.key.id if key is not None else None,
        "clientId": client.id if client is not None else None,
        "userId": user.id if user is not None else None,
        "email": user.email if user is not None and "email" in credential.scope_set else None,
    }
    known = {name: value for name, value in found.items() if value is not None}
    headers = [(_HEADERS[name], _as_header(value)) for name, value in known.items()]
    return EndpointResponse(200, known, [*headers, *_limit_headers(allowance), _NO_STORE])


def _as_header(value: str) -> str:
    """The value, of which everything that is not printable ASCII is percent-encoded, and blanks that would get lost."""
    is_plain = value.isascii() and value.isprintable() and "%" not in value
    if is_plain and value == value.strip(" "):
        return value
    return quote(value, safe=_PLAIN if value == value.strip(" ") else _PLAIN.replace(" ", ""))


_HEADERS: Final = {
    "type": "X-Auth-Type",
    "subject": "X-Auth-Subject",
    "organization": "X-Auth-Organization",
    "environment": "X-Auth-Environment",
    "scope": "X-Auth-Scope",
    "keyId": "X-Auth-Key-Id",
    "clientId": "X-Auth-Client-Id",
    "userId": "X-Auth-User-Id",
    "email": "X-Auth-Email",
}
_NO_STORE: Final = ("Cache-Control", "no-store")


def _limit_headers(allowance: Allowance | None) -> list[tuple[str, str]]:
    if allowance is None:
        return []
    told = [("RateLimit-Limit", str(allowance.limit)), ("RateLimit-Reset", str(allowance.resets_in))]
    if allowance.remaining is not None:
        told.append(("RateLimit-Remaining", str(allowance.remaining)))
    return told


def _refused(work: UnitOfWork, status: int, sentence: str, headers: Mapping[str, str]) -> EndpointResponse:
    log.info("refused: %s %s", CODES[status], sentence)
    return _refusal(status, sentence, work.actor.request_id, headers)


def _refusal(status: int, sentence: str, request_id: str | None, headers: Mapping[str, str]) -> EndpointResponse:
    body = {"error": CODES[status], "message": sentence, "request_id": request_id}
    told = (REFUSAL_HEADER, encode_document(body).decode().strip())
    return EndpointResponse(status, body, [*headers.items(), told, _NO_STORE])


OPERATIONS: Final = (
    Operation(
        name=_OPERATION,
        tag="Verification",
        method="GET",
        path="/verify",
        view=verify,
        summary="Verify a credential for a gateway",
        description=(
            "Answers 200 and says who asks, or what the client is to be answered. The query says what is required: "
            "`scope`, `scope.<METHOD>`, `organization`, `environment` (`live` unless said). For gateways see "
            "`docs/verification.md`."
        ),
        access="own",
        answer=VerifiedIdentity,
        also=("POST", "PUT", "PATCH", "DELETE"),
        refusals={400: "The gateway's question cannot be read.", 429: "The key's limit is used up."},
    ),
)
