"""Deleting an organization, a person or a client: what goes with it, what stays, and that this is said beforehand.

The audit log stays as it is, or it would prove nothing: it knows people, clients and keys by ids that nobody else is
ever given.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, func, select

from server.domain import audit_log, clients, outgoing_mail, sessions, users
from server.domain.api_keys import ApiKey, revoke_api_keys
from server.domain.audit_events import AuditEvent
from server.domain.clients import Client
from server.domain.consents import Consent
from server.domain.credential_usage import forget_usage
from server.domain.errors import Conflict
from server.domain.grants import Grant
from server.domain.invitations import Invitation, forget_person
from server.domain.memberships import Membership, end_membership, is_last_owner, list_memberships_of
from server.domain.organizations import Organization, lock_organization
from server.domain.roles import CustomRole
from server.domain.sessions import Session
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User, email_key
from server.infra.database import Base

_AUDIT: Final = "The audit log stays whole: it knows {whom} by the id {id}, which nobody else is ever given."


def describe_deletion(work: UnitOfWork, entity: Organization | User | Client) -> list[str]:
    """What deleting it would remove, what it would leave, in sentences."""
    match entity:
        case Organization():
            return _describe_organization(work, entity)
        case User():
            return _describe_user(work, entity)
        case Client():
            return _describe_client(work, entity)


def delete_organization(work: UnitOfWork, organization: Organization) -> list[str]:
    """Removes the organization with its keys, clients, roles, invitations and memberships; returns what went.

    Its members keep their accounts.

    Raises:
        NotFound: when it was removed meanwhile.
    """
    organization = lock_organization(work, organization.id)
    said, owned = _describe_organization(work, organization), _owned(work, organization)
    _remove_keys(work, organization)
    for client in work.db.scalars(select(Client).where(Client.organization_id == organization.id)).all():
        delete_client(work, client)
    for membership in work.db.scalars(select(Membership).where(Membership.organization_id == organization.id)).all():
        end_membership(work, membership, reason="organization_deleted")
    work.db.delete(organization)
    work.db.flush()
    counted: dict[str, Any] = dict(owned)
    audit_log.record(work, AuditEvent.ORGANIZATION_DELETED, organization_id=organization.id, **counted)
    return said


def delete_user(work: UnitOfWork, user: User) -> list[str]:
    """Removes the person with all that is theirs alone; returns what went.

    What they made for an organization stays with it, without their name.

    Raises:
        Conflict: when an organization would be left without an owner.
    """
    own = sorted(list_memberships_of(work, user.id), key=lambda each: each[1].id)
    for membership, organization in own:
        lock_organization(work, organization.id)
        if is_last_owner(work, membership):
            sole = f"{user.email} is the last owner of {organization.name}."
            raise Conflict(f"{sole} Make somebody else its owner first, or delete the organization.")
    said = _describe_user(work, user)
    sessions.tell_clients_of(work, user)
    forget_usage(work, "api_key", work.db.scalars(select(ApiKey.id).where(ApiKey.owner_id == user.id)).all())
    forget_person(work, user)
    outgoing_mail.forget_mail_to(work, user.email)
    for membership, _ in own:
        end_membership(work, membership, reason="user_deleted")
    clients.forget_maker(work, user.id)
    users.delete_user(work, user)
    return said


def delete_client(work: UnitOfWork, client: Client) -> list[str]:
    """Removes the client with its secrets, consents and grants, and what is known of its use; returns what went."""
    said = _describe_client(work, client)
    forget_usage(work, "client", [client.id])
    clients.delete_client(work, client)
    return said


_INVITATION: Final = ("invitation goes that was sent", "invitations go that were sent")
_OWNED: Final[dict[str, Any]] = {
    "members": Membership,
    "api_keys": ApiKey,
    "clients": Client,
    "roles": CustomRole,
    "invitations": Invitation,
}


def _remove_keys(work: UnitOfWork, organization: Organization) -> None:
    # The rows go with the organization; that the keys ended is told of in the audit log.
    ids = work.db.scalars(select(ApiKey.id).where(ApiKey.organization_id == organization.id)).all()
    if ids:
        revoke_api_keys(work, organization.id)
        forget_usage(work, "api_key", ids)


def _describe_organization(work: UnitOfWork, organization: Organization) -> list[str]:
    owned = _owned(work, organization)
    its_clients = select(Client.id).where(Client.organization_id == organization.id)
    grants = _some(_count(work, Grant, Grant.client_id.in_(its_clients)), "grant", "grants")
    roles = _some(owned["roles"], "role", "roles")
    clients_go = _some(owned["clients"], "application goes", "applications go")
    return [
        f"{_some(owned['members'], 'membership ends', 'memberships end')}; the people keep their accounts.",
        f"{_some(owned['api_keys'], 'API key stops', 'API keys stop')} working at once and for good.",
        f"{clients_go}, with secrets and consents, and {grants.lower()} with all tokens.",
        f"{roles} of its own and {_some(owned['invitations'], 'invitation', 'invitations').lower()} go.",
        _AUDIT.format(whom="the organization", id=organization.id),
    ]


def _describe_user(work: UnitOfWork, user: User) -> list[str]:
    names = [organization.name for _, organization in list_memberships_of(work, user.id)]
    keys, made = _count(work, ApiKey, ApiKey.owner_id == user.id), _count(work, Client, Client.created_by == user.id)
    tables: dict[str, Any] = {"session": Session, "consent": Consent, "grant": Grant}
    own = ", ".join(
        _some(_count(work, table, table.user_id == user.id), name, f"{name}s").lower() for name, table in tables.items()
    )
    invitations = _some(_count(work, Invitation, Invitation.email_key == email_key(user.email)), *_INVITATION)
    return [
        f"The account goes, with name, address and password, {own} and all tokens.",
        f"{_some(len(names), 'membership ends', 'memberships end')}{': ' if names else ''}{', '.join(names)}.",
        f"{_some(keys, 'API key of theirs stops', 'API keys of theirs stop')} working at once and for good.",
        f"{_some(made, 'application stays', 'applications stay')} with the organization, and may no longer manage it.",
        f"{invitations} to their address, with mail to it that still waits; what they offered to others is taken back.",
        _AUDIT.format(whom="the person", id=user.id),
    ]


def _describe_client(work: UnitOfWork, client: Client) -> list[str]:
    consents, grants = (_count(work, table, table.client_id == client.id) for table in (Consent, Grant))
    given = f"{_some(consents, 'consent', 'consents')} and {_some(grants, 'grant', 'grants').lower()}"
    return [
        "The application goes, with its secrets, its logo and what is known of its use.",
        f"{given} of people go, with all tokens.",
        _AUDIT.format(whom="the application", id=client.id),
    ]


def _owned(work: UnitOfWork, organization: Organization) -> dict[str, int]:
    """How much of each kind belongs to the organization."""
    return {name: _count(work, table, table.organization_id == organization.id) for name, table in _OWNED.items()}


def _count(work: UnitOfWork, table: type[Base], condition: ColumnElement[bool]) -> int:
    return work.db.scalar(select(func.count()).select_from(table).where(condition)) or 0


def _some(count: int, one: str, several: str) -> str:
    return f"{count or 'No'} {one if count == 1 else several}"
