"""Dynamic client registration, and a client's management of its own registration (RFC 7591, RFC 7592).

Nothing that a client names is fetched here but its sector's file, which has to be checked (OpenID Connect Core §8.1):
its keys are fetched when they are first needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from server.domain import scopes
from server.domain.client_changes import replace_metadata
from server.domain.client_registration import add_client, describe_registration, prepare_client
from server.domain.client_secrets import issue_client_secret, needs_secret, verify_client_secret
from server.domain.clients import Client, lock_client, registered_client
from server.domain.deletion import delete_client
from server.domain.errors import Invalid
from server.domain.initial_access_tokens import (
    InitialAccessToken,
    consume_initial_access_token,
    find_initial_access_token,
)
from server.domain.registration_quota import check_room, spend_registration
from server.domain.registration_tokens import (
    issue_registration_token,
    rotate_registration_token,
    verify_registration_token,
)
from server.domain.sector_identifiers import check_sector_file
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.infra import secrets
from server.protocol.authorization_server import EndpointResponse
from server.protocol.errors import (
    BearerError,
    InvalidClientMetadata,
    InvalidRedirectUri,
    InvalidRequest,
    MissingToken,
    ProtocolError,
)
from server.protocol.registration_request import STATEMENT, decode_document, metadata_of
from server.protocol.software_statement import verify_software_statement

#: What the server alone says; a client that sends it back has misread (RFC 7592 §2.2).
_SERVERS_OWN: Final = (
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
)


class RegistrationClosed(ProtocolError):
    """Nobody registers clients here but the operator."""

    error = "access_denied"
    status_code = 403


def register_client(work: UnitOfWork, authorization: str | None, body: bytes) -> EndpointResponse:
    """Registers whoever may be registered (RFC 7591 §3).

    Raises:
        ProtocolError: naming the member at fault, or because the caller may not.
        TooMany: when the quota is used up.
    """
    leave = _check_leave(work, authorization)
    document = decode_document(body)
    client = _prepare(work, document, secrets.new_id())
    _check_access_of_its_own(client, None)
    spend_registration(work)
    with _as_refusal():
        check_sector_file(work, client)
    if leave is not None and not consume_initial_access_token(work, leave.id):
        raise _bad_token(work)
    check_room(work)
    add_client(work, client, **({"initial_access_token": leave.id} if leave is not None else {}))
    secret = issue_client_secret(work, client) if needs_secret(client) else None
    answer = _describe(work, client, issue_registration_token(work, client), secret)
    if document.get(STATEMENT) is not None:
        # RFC 7591 §3.2.1: as it came.
        answer[STATEMENT] = document[STATEMENT]
    return EndpointResponse(201, answer, [])


def read_registration(work: UnitOfWork, client_id: str, authorization: str | None) -> EndpointResponse:
    """The client's registration as it is now (RFC 7592 §2.1). The token stays, so that a lost answer costs nothing.

    Raises:
        BearerError: when the token is not the client's.
    """
    token = _presented(work, authorization)
    client = _authenticate(work, client_id, token)
    return EndpointResponse(200, _describe(work, client, token, None), [])


def replace_registration(work: UnitOfWork, client_id: str, authorization: str | None, body: bytes) -> EndpointResponse:
    """Replaces all that the client said of itself, and its token; what is left out is as if never said (RFC 7592 §2.2).

    Raises:
        ProtocolError: naming the member at fault.
        BearerError: when the token is not the client's.
    """
    presented = _presented(work, authorization)
    before = _authenticate(work, client_id, presented, may_be_retry=True)
    document = decode_document(body)
    _check_same_client(work, before, document)
    prepared = _prepare(work, document, client_id)
    with _as_refusal():
        check_sector_file(work, prepared)
    work = work.acting_as("client", client_id)
    client = lock_client(work, client_id)
    if client is None:
        raise _bad_token(work)
    _check_access_of_its_own(prepared, client)
    token = rotate_registration_token(work, client_id, presented)
    if token is None:
        raise _bad_token(work)
    with _as_refusal():
        secret = replace_metadata(work, client, prepared)
    return EndpointResponse(200, _describe(work, client, token, secret), [])


def delete_registration(work: UnitOfWork, client_id: str, authorization: str | None) -> EndpointResponse:
    """Removes the client with everything that was issued to it (RFC 7592 §2.3).

    Raises:
        BearerError: when the token is not the client's.
    """
    token = _presented(work, authorization)
    _authenticate(work, client_id, token)
    work = work.acting_as("client", client_id)
    client = lock_client(work, client_id)
    if client is None or not verify_registration_token(work, client_id, token):
        raise _bad_token(work)
    delete_client(work, client)
    return EndpointResponse(204, None, [])


def _check_leave(work: UnitOfWork, authorization: str | None) -> InitialAccessToken | None:
    """Whether the caller may register a client: by its token, or None because anybody may."""
    if work.settings.registration == "off":
        raise RegistrationClosed("Clients are registered by the operator of this server only.")
    if work.settings.registration == "open":
        return None
    token = find_initial_access_token(work, _presented(work, authorization))
    if token is None:
        raise _bad_token(work)
    return token


def _presented(work: UnitOfWork, authorization: str | None) -> str:
    """The bearer token, from the header alone (RFC 6750 §2.1): the body is a document, the URL is in logs."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise MissingToken("An access token for registration is needed.", realm=work.settings.issuer)
    return token.strip()


def _bad_token(work: UnitOfWork) -> BearerError:
    """One answer whatever is wrong: no client, another's token, a used-up one (RFC 7592 §2.1)."""
    return BearerError("The token does not open this registration.", realm=work.settings.issuer)


def _authenticate(work: UnitOfWork, client_id: str, token: str, *, may_be_retry: bool = False) -> Client:
    client = registered_client(work, client_id)
    if client is None or not is_usable(work.now, client):
        raise _bad_token(work)
    if not verify_registration_token(work, client_id, token, may_be_retry=may_be_retry):
        raise _bad_token(work)
    return client


def _check_same_client(work: UnitOfWork, client: Client, document: Mapping[str, Any]) -> None:
    """The client names itself, and cannot choose its secret (RFC 7592 §2.2)."""
    if document.get("client_id") != client.id:
        raise InvalidRequest("client_id must be that of the registration.")
    if any(name in document for name in _SERVERS_OWN):
        raise InvalidRequest(f"None of {', '.join(_SERVERS_OWN)} may be sent.")
    secret = document.get("client_secret")
    if secret is not None and not (isinstance(secret, str) and verify_client_secret(work, client, secret)):
        raise InvalidRequest("client_secret must be the one that the client has; it cannot be chosen.")


def _prepare(work: UnitOfWork, document: Mapping[str, Any], client_id: str) -> Client:
    """The client that the document describes; where a trusted statement speaks, it is right (RFC 7591 §2.3)."""
    statement = document.get(STATEMENT)
    if statement is not None:
        if not isinstance(statement, str):
            raise InvalidClientMetadata("software_statement has the wrong type.")
        document = {**document, **verify_software_statement(work, statement)}
    with _as_refusal():
        return prepare_client(work, metadata_of(document, client_id))


def _check_access_of_its_own(prepared: Client, registered: Client | None) -> None:
    """A client that registers itself acts for people, who are asked; as a machine only as far as the operator let it.

    Raises:
        InvalidClientMetadata: when it would get access of its own, or more of it.
    """
    if "client_credentials" not in prepared.grant_types:
        return
    if registered is None or "client_credentials" not in registered.grant_types:
        raise InvalidClientMetadata("A client that registers itself cannot use client_credentials.")
    if not prepared.allowed_scopes - scopes.PERSONAL <= registered.allowed_scopes:
        raise InvalidClientMetadata("A client that uses client_credentials cannot give itself further scopes.")


@contextmanager
def _as_refusal() -> Iterator[None]:
    """What the rules refuse, in the words of RFC 7591 §3.2.2."""
    try:
        yield
    except Invalid as error:
        kind = InvalidRedirectUri if error.field == "redirect_uris" else InvalidClientMetadata
        raise kind(f"{error.field}: {error}") from error


def _describe(work: UnitOfWork, client: Client, token: str, secret: str | None) -> dict[str, Any]:
    """The client information response (RFC 7592 §3). A secret is shown when it is made, and never after."""
    document = describe_registration(client)
    if secret is not None:
        document["client_secret"] = secret
    if needs_secret(client):
        document["client_secret_expires_at"] = 0
    document["registration_access_token"] = token
    document["registration_client_uri"] = work.settings.url(f"/oauth/register/{client.id}")
    return document
