"""What a rich access token tells of the person behind it, for APIs that ask nobody else (RFC 9068 §2.2.2, §2.2.3.1)."""

from __future__ import annotations

from typing import Any, Final

from server.domain.claims import claims_of
from server.domain.clients import Client
from server.domain.membership_records import Membership
from server.domain.memberships import find_membership, list_memberships_of
from server.domain.organizations import registered_organization
from server.domain.roles import rights_of_member
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.users import find_user

#: Of all that a scope opens.
_TOLD: Final = frozenset({"name", "email", "email_verified"})


def claims_about_person(work: UnitOfWork, client: Client, user_id: str, granted: frozenset[str]) -> dict[str, Any]:
    """Name and address as far as they were granted; the organization, and what the person may do in it by their role.

    It is the client's organization, or the only one that the person is in: of several the token names none.
    """
    user = find_user(work, user_id)
    claims = {} if user is None else {n: value for n, value in claims_of(user, granted).items() if n in _TOLD}
    membership = _membership_of(work, client, user_id)
    if membership is None:
        return claims
    permissions = sorted(rights_of_member(work, membership).granted)
    return claims | {"organization_id": membership.organization_id, "permissions": permissions}


def _membership_of(work: UnitOfWork, client: Client, user_id: str) -> Membership | None:
    if client.organization_id is not None:
        organization = registered_organization(work, client.organization_id)
        membership = find_membership(work, client.organization_id, user_id)
        return membership if is_usable(work.now, organization, membership) else None
    usable = [one for one, organization in list_memberships_of(work, user_id) if is_usable(work.now, organization, one)]
    return usable[0] if len(usable) == 1 else None
