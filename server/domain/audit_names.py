"""What the ids in an organization's audit rows are called, for its own people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import select

from server.domain.api_keys import ApiKey
from server.domain.audit_records import AuditRecord
from server.domain.clients import Client
from server.domain.memberships import Membership
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User


def names_in(work: UnitOfWork, organization_id: str, rows: Iterable[AuditRecord]) -> dict[str, str]:
    """The names of members, clients and keys of the organization that the rows name, by id.

    Whoever is no member stays an id: that somebody used an application of the organization tells it no address.
    """
    ids = {each for row in rows for each in _ids(row)}
    if not ids:
        return {}
    members = select(User).join(Membership, Membership.user_id == User.id)
    people = work.db.scalars(members.where(Membership.organization_id == organization_id, User.id.in_(ids)))
    clients = select(Client.id, Client.client_name).where(Client.organization_id == organization_id, Client.id.in_(ids))
    keys = select(ApiKey.id, ApiKey.name).where(ApiKey.organization_id == organization_id, ApiKey.id.in_(ids))
    names = {user.id: user.display_name for user in people}
    for query in (clients, keys):
        names |= {row.id: row[1] for row in work.db.execute(query)}
    return names


def _ids(row: AuditRecord) -> Iterator[str]:
    candidates = (row.actor_id, row.user_id, row.client_id, *row.details.values())
    return (each for each in candidates if isinstance(each, str) and each)
