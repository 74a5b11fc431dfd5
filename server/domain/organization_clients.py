"""The clients of an organization: made and changed by its members, who give none more than they have themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import select

from server.domain import scopes
from server.domain.client_changes import change_client, metadata_of
from server.domain.client_registration import ClientMetadata, add_client, prepare_client
from server.domain.client_secrets import issue_client_secret, needs_secret
from server.domain.clients import Client, find_client
from server.domain.errors import Denied, Invalid, NotFound
from server.domain.memberships import find_membership
from server.domain.organizations import hold_organization
from server.domain.policy.client_metadata import MEMBERS
from server.domain.policy.environments import Environment
from server.domain.roles import rights_of_member
from server.domain.scopes import Rights
from server.domain.subjects import sector_of
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.users import User, find_user

#: What an organization says of its clients; everything else is the operator's to decide.
CHANGEABLE: Final = frozenset({*MEMBERS, "jwt_authentication", "access_token_claims", "id_token_claims"})
_OPERATORS: Final[Mapping[str, Any]] = {
    "is_first_party": False,
    "may_introspect_any": False,
    "registered_dynamically": False,
    "is_demo": False,
    "require_pkce": True,
    "rotate_refresh_tokens": True,
    "client_id": None,
}


def list_organization_clients(work: UnitOfWork, organization_id: str, environment: Environment) -> Sequence[Client]:
    """The organization's clients in the environment, newest first."""
    query = select(Client).where(Client.organization_id == organization_id, Client.environment == environment)
    return work.db.scalars(query.order_by(Client.created_at.desc(), Client.id)).all()


def get_organization_client(work: UnitOfWork, organization_id: str, environment: Environment, client_id: str) -> Client:
    """The client of this id in the organization and environment.

    Raises:
        NotFound: when there is none there; what is elsewhere is not there.
    """
    client = find_client(work, client_id)
    if client is None or (client.organization_id, client.environment) != (organization_id, environment):
        raise NotFound("There is no such application.")
    return client


def create_organization_client(work: UnitOfWork, metadata: ClientMetadata, maker: Rights) -> tuple[Client, str | None]:
    """Registers a client for the organization that the metadata name; returns its secret, shown this once, if any.

    Raises:
        Invalid: naming the metadata member and the reason.
        Denied: when it would get more than its maker has.
        NotFound: when the organization has just been removed.
    """
    if metadata.organization_id is not None:
        hold_organization(work, metadata.organization_id)
    client = prepare_client(work, replace(metadata, **_OPERATORS))
    _check_excess(maker, client.allowed_scopes)
    add_client(work, client)
    return client, issue_client_secret(work, client) if needs_secret(client) else None


def change_organization_client(
    work: UnitOfWork, client: Client, changes: Mapping[str, Any], maker: Rights
) -> str | None:
    """Changes what the organization may say of its client; returns a new secret when that takes one.

    Raises:
        Invalid: naming the metadata member and the reason.
        Denied: when the client may do more than who changes it, or would.
    """
    for name in changes:
        if name not in CHANGEABLE:
            raise Invalid(name, "Only the operator of this service decides this.")
    check_reach(client, maker)
    prepared = prepare_client(work, ClientMetadata(**{**metadata_of(client), **changes}))
    _check_excess(maker, prepared.allowed_scopes - client.allowed_scopes)
    if prepared.subject_type == "pairwise" and sector_of(client) != sector_of(prepared):
        raise Invalid("redirect_uris", "The sector of pairwise subjects cannot change; register another client.")
    return change_client(work, client, prepared)


def find_maker(work: UnitOfWork, client: Client) -> User | None:
    """Whoever made the client for its organization, or None; None too for a client that an operator made."""
    return find_user(work, client.created_by) if client.created_by is not None else None


def rights_of_client(work: UnitOfWork, client: Client, given: Rights) -> Rights | None:
    """What the client may do in its organization's name with what it was given: as a key, no more than its maker now.

    Otherwise whoever makes a client would keep by it what they lose. None when they no longer belong there.
    """
    if client.created_by is None or client.organization_id is None:
        return given
    membership = find_membership(work, client.organization_id, client.created_by)
    if membership is None or not is_usable(work.now, membership, find_maker(work, client)):
        return None
    return given.within(rights_of_member(work, membership))


def reach_of_token(
    work: UnitOfWork, client: Client, user: User | None, given: Rights
) -> tuple[str | None, Rights] | None:
    """The organization that a token of the client speaks in, if any, and what it may do; None when nothing any more.

    Args:
        work: the work.
        client: whose token it is.
        user: the person who allowed it; they need not belong to the organization of an application that they use, but
            if they do, their role bounds them.
        given: what the token was given.
    """
    if client.organization_id is None:
        return None, given
    if user is None:
        rights = rights_of_client(work, client, given)
        return (client.organization_id, rights) if rights is not None else None
    membership = find_membership(work, client.organization_id, user.id)
    if membership is None:
        return None, given
    if not is_usable(work.now, membership):
        return None
    return client.organization_id, given.within(rights_of_member(work, membership))


def check_reach(client: Client, maker: Rights) -> None:
    """Refuses whoever would gain by the client: a new secret or redirect URI of it is worth all that it may do.

    Raises:
        Denied: when the client may do more than they.
    """
    check_may_end(client)
    _check_excess(maker, client.allowed_scopes)


def check_may_end(client: Client) -> None:
    """Refuses everybody in the organization what is the operator's; otherwise taking away gains nobody anything.

    Raises:
        Denied: when the operator gave the client special rights.
    """
    if client.is_first_party or client.may_introspect_any:
        raise Denied("The operator of this service gave this application special rights; ask them to change it.")


def _check_excess(maker: Rights, wanted: frozenset[str]) -> None:
    # What speaks about a person is that person's to give, each time they are asked.
    excess = maker.excess(wanted - scopes.PERSONAL)
    if excess:
        raise Denied(f"Your role does not reach that far: {', '.join(sorted(excess))}.")
