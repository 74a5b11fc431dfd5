"""To whom is written when something happens to an API key? Its owner, or the owners of the organization."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from server.domain.api_keys import ApiKey
from server.domain.membership_records import OWNER, Membership
from server.domain.organizations import Organization
from server.domain.outgoing_mail import send_later
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User


def mail_about_key(work: UnitOfWork, key: ApiKey, subject: str, text: str) -> int:
    """Queues a mail to those who answer for the key; returns how many, none where no mail server is configured."""
    organization = work.db.get(Organization, key.organization_id)
    which = (
        f"This is about the API key {key.name} ({key.prefix}…{key.hint}, {key.environment}) of "
        f"{organization.name if organization else key.organization_id} on {work.settings.issuer_name}."
    )
    queued = [send_later(work, person.email, subject, f"{which}\n\n{text}\n") for person in _people(work, key)]
    return sum(queued)


def _people(work: UnitOfWork, key: ApiKey) -> Sequence[User]:
    people = select(User).where(User.disabled_at.is_(None))
    if key.owner_id is not None:
        return work.db.scalars(people.where(User.id == key.owner_id)).all()
    is_owner = (Membership.organization_id == key.organization_id, Membership.role == OWNER)
    owners = people.join(Membership, Membership.user_id == User.id).where(*is_owner, Membership.suspended_at.is_(None))
    return work.db.scalars(owners.order_by(User.id)).all()
