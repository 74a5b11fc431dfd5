"""Invitations into an organization, by a link that is good once.

Where mail is configured the link goes to the invited address and is shown to nobody else: having it proves the address.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import ForeignKey, func, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log, outgoing_mail, roles, users
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Denied, Expired, Invalid, NotFound, TooMany
from server.domain.membership_records import insert_membership
from server.domain.memberships import Membership, find_membership
from server.domain.organizations import Organization, lock_organization
from server.domain.policy.lifetimes import is_expired
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User, email_key, find_user_by_email, is_email_address
from server.infra import mail, secrets
from server.infra.database import Base, count_changed

ID_PREFIX: Final = "inv_"
TOKEN_PREFIX: Final = "invitation_"
LIFETIME: Final = timedelta(days=7)
#: Seconds between two mails to the same invited person.
_RESEND_SECONDS: Final = 60
#: So that nobody uses an organization to write to the whole world.
_MOST_OPEN: Final = 500
#: What somebody must still be allowed to do when an invitation of theirs is accepted.
_PERMISSION: Final = "users:write"

State = Literal["open", "accepted", "revoked", "expired"]


class Invitation(Base):
    """One person asked to join, by their address."""

    __tablename__ = "invitations"

    id: Mapped[str] = mapped_column(primary_key=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"), index=True)
    email: Mapped[str]
    email_key: Mapped[str]
    role: Mapped[str]
    #: Of the link's token. SHA-256 suffices: it has 256 random bits.
    token_digest: Mapped[str] = mapped_column(unique=True)
    #: None when it was an operator.
    invited_by: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    accepted_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    #: When the present link was mailed; None when it was shown to whoever invites.
    sent_at: Mapped[datetime | None]


def invite(
    work: UnitOfWork, organization: Organization, email: str, role: str, inviter: User | None
) -> tuple[Invitation, str | None]:
    """Invites somebody by their address; the caller has asked `roles.check_may_give_role`.

    Returns the invitation and its link's token, this once; None in its place when the link was mailed.

    Raises:
        Invalid: when the address or the role is none.
        Denied: when the organization is suspended.
        Conflict: when the person is a member or invited already, or too many are invited.
    """
    organization = lock_organization(work, organization.id)
    address = email.strip()
    if organization.suspended_at is not None:
        raise Denied("This organization is suspended.")
    if not is_email_address(address):
        raise Invalid("email", "This is not an email address.")
    roles.check_role(work, organization.id, role)
    _check_is_new(work, organization, address)
    invitation = Invitation(
        id=ID_PREFIX + secrets.new_id(),
        organization_id=organization.id,
        email=address,
        email_key=email_key(address),
        role=role,
        invited_by=inviter.id if inviter else None,
        created_at=work.now,
    )
    token = _renew(work, invitation)
    work.db.add(invitation)
    work.db.flush()
    _record(work, AuditEvent.INVITATION_CREATED, invitation)
    return invitation, _hand_over(work, organization, invitation, token)


def find_invitation(work: UnitOfWork, token: str) -> Invitation | None:
    """The invitation whose link this is, whatever has become of it by now, or None."""
    if not token.startswith(TOKEN_PREFIX):
        return None
    query = select(Invitation).where(Invitation.token_digest == secrets.digest(token))
    return work.db.scalars(query.execution_options(populate_existing=True)).one_or_none()


def get_invitation(work: UnitOfWork, organization_id: str, invitation_id: str) -> Invitation:
    """The organization's invitation of this id.

    Raises:
        NotFound: when there is none, whatever other organizations have.
    """
    query = select(Invitation).where(Invitation.organization_id == organization_id, Invitation.id == invitation_id)
    found = work.db.scalars(query).one_or_none()
    if found is None:
        raise NotFound(f"The organization has no invitation {invitation_id}.")
    return found


def list_invitations(work: UnitOfWork, organization_id: str) -> Sequence[Invitation]:
    """Those that were neither accepted nor revoked, newest first; some may be expired."""
    query = select(Invitation).where(Invitation.organization_id == organization_id, *_UNUSED)
    return work.db.scalars(query.order_by(Invitation.created_at.desc(), Invitation.id)).all()


def state_of(invitation: Invitation, now: datetime) -> State:
    """What became of it."""
    if invitation.accepted_at is not None:
        return "accepted"
    if invitation.revoked_at is not None:
        return "revoked"
    return "expired" if is_expired(now, invitation.expires_at) else "open"


def link_of(work: UnitOfWork, token: str) -> str:
    """Where the person accepts it."""
    return work.settings.url(f"/invitations/{token}")


def accept_invitation(work: UnitOfWork, invitation: Invitation, user: User) -> Membership:
    """Makes the invited person a member; of several attempts at once one does.

    Raises:
        Denied: when it is for somebody else, the organization is suspended, or whoever invited may no longer do so.
        Conflict: when it was used or revoked, its role is gone, or the person is a member already.
        Expired: when it is too old.
    """
    organization = lock_organization(work, invitation.organization_id)
    if organization.suspended_at is not None:
        raise Denied("This organization is suspended.")
    if email_key(user.email) != invitation.email_key:
        raise Denied(f"This invitation is for {invitation.email}.")
    _read_anew(work, invitation)
    _check_is_unused(invitation)
    _check_inviter(work, invitation)
    try:
        roles.check_role(work, organization.id, invitation.role, meant_at=invitation.created_at)
    except Invalid as error:
        raise Conflict(f"The role {invitation.role} no longer exists. Ask for a new invitation.") from error
    if find_membership(work, organization.id, user.id) is not None:
        raise Conflict(f"{user.email} is a member of {organization.name} already.")
    _consume(work, invitation)
    membership = insert_membership(work, organization.id, user.id, invitation.role)
    _record(work, AuditEvent.INVITATION_ACCEPTED, invitation, user_id=user.id, membership_id=membership.id)
    return membership


def resend_invitation(work: UnitOfWork, invitation: Invitation) -> str | None:
    """Gives the invitation a new link and its full time again; the caller has asked `roles.check_may_give_role`.

    Returns the new token, or None when the link was mailed.

    Raises:
        TooMany: when the last mail went out a moment ago.
        Conflict: when it was used or revoked.
        Denied: when the organization is suspended.
    """
    organization = lock_organization(work, invitation.organization_id)
    if organization.suspended_at is not None:
        raise Denied("This organization is suspended.")
    _read_anew(work, invitation)
    _check_is_unused(invitation)
    if invitation.sent_at is not None:
        wait = _RESEND_SECONDS - int((work.now - invitation.sent_at).total_seconds())
        if wait > 0:
            raise TooMany("The invitation was sent a moment ago.", wait)
    token = _renew(work, invitation)
    work.db.flush()
    _record(work, AuditEvent.INVITATION_RESENT, invitation)
    return _hand_over(work, organization, invitation, token)


def revoke_invitation(work: UnitOfWork, invitation: Invitation) -> None:
    """Takes it back: its link opens nothing any more. Idempotent.

    Raises:
        Conflict: when it was accepted already.
    """
    lock_organization(work, invitation.organization_id)
    _read_anew(work, invitation)
    if invitation.accepted_at is not None:
        raise Conflict("This invitation was accepted already. Remove the member instead.")
    if invitation.revoked_at is None:
        invitation.revoked_at = work.now
        work.db.flush()
        _record(work, AuditEvent.INVITATION_REVOKED, invitation)


def forget_person(work: UnitOfWork, user: User) -> None:
    """For somebody who goes: takes back what they have offered, and removes all that was ever sent to their address."""
    own = or_(Invitation.invited_by == user.id, Invitation.email_key == email_key(user.email))
    for invitation in work.db.scalars(select(Invitation).where(own)).all():
        if state_of(invitation, work.now) == "open":
            revoke_invitation(work, invitation)
        if invitation.email_key == email_key(user.email):
            work.db.delete(invitation)
    work.db.flush()


_UNUSED: Final = (Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))


def _check_is_new(work: UnitOfWork, organization: Organization, address: str) -> None:
    known = find_user_by_email(work, address)
    if known is not None and find_membership(work, organization.id, known.id) is not None:
        raise Conflict(f"{address} is a member of the organization already.")
    is_open = (Invitation.organization_id == organization.id, *_UNUSED, Invitation.expires_at > work.now)
    if work.db.scalars(select(Invitation.id).where(*is_open, Invitation.email_key == email_key(address))).first():
        raise Conflict(f"{address} is invited already. Send that invitation again, or revoke it.")
    if (work.db.scalar(select(func.count()).select_from(Invitation).where(*is_open)) or 0) >= _MOST_OPEN:
        raise Conflict(f"The organization has {_MOST_OPEN} open invitations. Revoke some first.")


def _check_inviter(work: UnitOfWork, invitation: Invitation) -> None:
    """Refuses an invitation by a member who could not give it any more: they left, or have fewer rights than then."""
    if invitation.invited_by is None:
        return
    inviter = users.find_user(work, invitation.invited_by)
    membership = find_membership(work, invitation.organization_id, invitation.invited_by)
    if inviter is not None and inviter.disabled_at is None and membership is not None:
        rights = roles.rights_of_member(work, membership)
        offered = roles.rights_of_role(work, invitation.organization_id, invitation.role)
        if rights.allows(_PERMISSION) and not roles.exceeds(work, offered, rights):
            return
    raise Denied("Whoever invited you can no longer do so. Ask somebody else of the organization to invite you.")


def _check_is_unused(invitation: Invitation) -> None:
    if invitation.accepted_at is not None:
        raise Conflict("This invitation was accepted already.")
    if invitation.revoked_at is not None:
        raise Conflict("This invitation was revoked.")


def _consume(work: UnitOfWork, invitation: Invitation) -> None:
    # Once more in the statement itself, whatever held the others off.
    mine = (Invitation.id == invitation.id, *_UNUSED, Invitation.expires_at > work.now)
    if count_changed(work.db, update(Invitation).where(*mine).values(accepted_at=work.now)) != 1:
        raise Expired("This invitation has expired. Ask for a new one.")
    _read_anew(work, invitation)


def _read_anew(work: UnitOfWork, invitation: Invitation) -> None:
    query = select(Invitation).where(Invitation.id == invitation.id).execution_options(populate_existing=True)
    if work.db.scalars(query).one_or_none() is None:
        raise NotFound("This invitation no longer exists.")


def _renew(work: UnitOfWork, invitation: Invitation) -> str:
    """A new link with its full time; the one before opens nothing any more."""
    token = secrets.new_secret(TOKEN_PREFIX)
    invitation.token_digest, invitation.expires_at = secrets.digest(token), work.now + LIFETIME
    invitation.sent_at = work.now if mail.is_configured(work.settings) else None
    return token


def _hand_over(work: UnitOfWork, organization: Organization, invitation: Invitation, token: str) -> str | None:
    """Mails the link, or where nothing is mailed returns it to be shown."""
    inviter = users.find_user(work, invitation.invited_by) if invitation.invited_by else None
    title = roles.title_of(work, organization.id, invitation.role)
    text = (
        f"{inviter.display_name if inviter else 'The operator'} invites you to join {organization.name} on "
        f"{work.settings.issuer_name}, as: {title}.\n\n"
        f"Open this page to accept:\n\n{link_of(work, token)}\n\n"
        f"The link works once, until {invitation.expires_at:%d %B %Y, %H:%M} UTC. "
        "If you did not expect it, you need not do anything."
    )
    subject = f"Join {organization.name} on {work.settings.issuer_name}"
    return None if outgoing_mail.send_later(work, invitation.email, subject, text) else token


def _record(work: UnitOfWork, event: AuditEvent, invitation: Invitation, **details: str) -> None:
    # Not the address: audit rows outlive the person's account.
    audit_log.record(
        work,
        event,
        organization_id=invitation.organization_id,
        invitation_id=invitation.id,
        role=invitation.role,
        **details,
    )
