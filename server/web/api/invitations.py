"""`/v1/organizations/{organization}/invitations`: people who are asked to join."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field

from server.domain import invitations
from server.domain.invitations import Invitation
from server.domain.roles import check_may_give_role
from server.web.api.admission import Call
from server.web.api.documents import Body, Document, Page, PageQuery, Text
from server.web.api.pagination import one_page


class InvitationDocument(Document):
    """Somebody who is asked to join."""

    id: str
    email: str
    role: str
    state: invitations.State
    created_at: datetime
    expires_at: datetime
    link: str | None = Field(
        default=None,
        description="Where the person accepts, told this once and only where no mail is sent: whoever has the link "
        "can be that person.",
    )


class NewInvitation(Body):
    """Whom to ask."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "grace@example.com", "role": "developer"}]})

    email: Text = Field(min_length=3, max_length=254, json_schema_extra={"format": "email"})
    role: Text = Field(default="member", min_length=1, max_length=100, description="The name of a role.")


def list_invitations(call: Call) -> Page[InvitationDocument]:
    """Those that nobody has accepted yet, also if they have expired."""
    query: PageQuery = call.query
    rows = invitations.list_invitations(call.work, call.organization.id)
    page, cursor = one_page(rows, query, lambda each: (each.created_at, each.id))
    return Page[InvitationDocument](data=[_document(call, each) for each in page], next_cursor=cursor)


def create(call: Call) -> InvitationDocument:
    """Asks somebody to join, by mail where mail is sent."""
    body: NewInvitation = call.body
    check_may_give_role(call.work, call.allowed, call.organization.id, body.role)
    invitation, token = invitations.invite(call.work, call.organization, body.email, body.role, call.answerable)
    return _document(call, invitation, token)


def resend(call: Call, invitation_id: str) -> InvitationDocument:
    """Asks again, by a new link; the old one is good no more."""
    invitation = invitations.get_invitation(call.work, call.organization.id, invitation_id)
    check_may_give_role(call.work, call.allowed, call.organization.id, invitation.role)
    return _document(call, invitation, invitations.resend_invitation(call.work, invitation))


def revoke(call: Call, invitation_id: str) -> None:
    """Takes it back."""
    invitation = invitations.get_invitation(call.work, call.organization.id, invitation_id)
    invitations.revoke_invitation(call.work, invitation)


def _document(call: Call, invitation: Invitation, token: str | None = None) -> InvitationDocument:
    return InvitationDocument(
        id=invitation.id,
        email=invitation.email,
        role=invitation.role,
        state=invitations.state_of(invitation, call.work.now),
        created_at=invitation.created_at,
        expires_at=invitation.expires_at,
        link=invitations.link_of(call.work, token) if token is not None else None,
    )
