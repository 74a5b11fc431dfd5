"""Changing a registration: by the client itself, which replaces all it said (RFC 7592 §2.2), or by the operator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

from server.domain.audit_events import AuditEvent
from server.domain.client_registration import ClientMetadata
from server.domain.client_secrets import (
    CLIENT_SECRET_JWT,
    forget_readable_secrets,
    needs_secret,
    rotate_client_secret,
    signs_with_secret,
)
from server.domain.clients import Client, lock_client, record_of_client
from server.domain.errors import Invalid, NotFound
from server.domain.policy.client_metadata import MEMBERS, OWN_MEMBERS
from server.domain.registration_tokens import revoke_registration_token
from server.domain.subjects import sector_of
from server.domain.unit_of_work import UnitOfWork

#: As long as `gatepost clients rotate-secret` gives by default.
_OVERLAP_SECONDS: Final = 86400


def metadata_of(client: Client) -> dict[str, Any]:
    """The metadata that would register the client as it is: arguments of `ClientMetadata`."""
    names = [field.name for field in fields(ClientMetadata) if field.name != "client_id"]
    values = {name: getattr(client, name) for name in names}
    return {"client_id": client.id} | {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }


def replace_metadata(work: UnitOfWork, client: Client, prepared: Client) -> str | None:
    """Gives the client what it now says of itself; what is the operator's to decide stays.

    Args:
        work: the work.
        client: as it is registered.
        prepared: as `prepare_client` made it.

    Returns:
        A new secret, shown this once, when the client needs one that it has not.

    Raises:
        Invalid: when it would become another sector's: with tokens it has it could learn what that calls people.
    """
    if prepared.subject_type == "pairwise" and sector_of(client) != sector_of(prepared):
        raise Invalid("redirect_uris", "The sector of pairwise subjects cannot change; register another client.")
    type_before = client.client_type
    secret = _change(work, client, prepared, (*MEMBERS, "client_type"))
    if client.client_type != type_before:
        # What the operator said of PKCE, they said of the type that it was.
        client.require_pkce |= prepared.require_pkce
    if client.is_public:
        client.require_pkce = client.rotate_refresh_tokens = True
    return secret


def change_client(work: UnitOfWork, client: Client, prepared: Client) -> str | None:
    """Gives the client all that the operator now says of it; returns as `replace_metadata`.

    A client that is the operator's from now on, or gets more than others, no longer changes itself: what was decided
    about it would be decided about whatever its registration token makes of it later.

    Raises:
        NotFound: when the client has been removed meanwhile.
    """
    # Read again: the operator speaks of the client as it was prepared, not of what it made of itself since.
    if lock_client(work, client.id) is None:
        raise NotFound(f"There is no client {client.id}.")
    secret = _change(work, client, prepared, (*MEMBERS, *OWN_MEMBERS))
    gets_more = client.is_first_party or client.may_introspect_any or client.jwt_authentication
    if gets_more or not client.registered_dynamically:
        revoke_registration_token(work, client.id)
    return secret


def _change(work: UnitOfWork, client: Client, prepared: Client, names: Iterable[str]) -> str | None:
    secret_before, signed_before = _use_of_secret(client), signs_with_secret(client)
    changed = [name for name in names if getattr(client, name) != getattr(prepared, name)]
    for name in changed:
        setattr(client, name, getattr(prepared, name))
    client.updated_at = work.now
    work.db.flush()
    record_of_client(work, AuditEvent.CLIENT_UPDATED, client, changed=sorted(changed))
    return _secret_after(work, client, secret_before, signed_before)


def _secret_after(work: UnitOfWork, client: Client, use_before: str, signed_before: bool) -> str | None:
    """A secret that the client lacks by now. One that signs is kept in another way than one that is only shown."""
    if not needs_secret(client):
        return None
    if _use_of_secret(client) != use_before:
        # Neither is any use for the other method.
        return rotate_client_secret(work, client, overlap_seconds=0)
    if signs_with_secret(client) and not signed_before:
        # Those that it has cannot be read; they still prove who it is until the new one is everywhere.
        return rotate_client_secret(work, client, _OVERLAP_SECONDS)
    if signed_before and not signs_with_secret(client):
        forget_readable_secrets(work, client)
    return None


def _use_of_secret(client: Client) -> str:
    """How the client proves itself by its secret."""
    if not needs_secret(client):
        return "none"
    return "signs" if client.token_endpoint_auth_method == CLIENT_SECRET_JWT else "shows"
