"""Inviting people into an organization. Where no mail is sent the link is shown to whoever invites, once."""

from __future__ import annotations

from typing import Final

from flask.wrappers import Response

from server.domain import invitations, roles
from server.domain.invitations import Invitation
from server.infra import mail
from server.web.dashboard.members import roles_to_give
from server.web.dashboard.question import Question, ask
from server.web.dashboard.shell import Link, OrganizationShell

_DEFAULT_ROLE: Final = "member"


def show_invite(shell: OrganizationShell) -> Response:
    """The form."""
    return shell.render(
        "dashboard/members/invite.html",
        roles=roles_to_give(shell),
        default_role=_DEFAULT_ROLE,
        action=shell.url("members", "invite"),
        list_url=shell.url("members"),
        is_mailing=mail.is_configured(shell.work.settings),
    )


def invite(shell: OrganizationShell) -> Response:
    """Sends the invitation, or shows its link."""
    role = shell.value("role")
    roles.check_may_give_role(shell.work, shell.rights, shell.organization.id, role)
    invitation, token = invitations.invite(shell.work, shell.organization, shell.value("email"), role, shell.user)
    return _handed_over(shell, invitation, token, "invited")


def show_resend(shell: OrganizationShell, invitation_id: str) -> Response:
    """The question."""
    invitation = invitations.get_invitation(shell.work, shell.organization.id, invitation_id)
    sentences = ("There will be a new link, good for 7 days. The one before stops working.",)
    question = Question(
        f"Invite {invitation.email} again?",
        sentences,
        "Send a new link" if mail.is_configured(shell.work.settings) else "Make a new link",
        shell.url("members"),
        is_risky=False,
        trail=[Link("Members", shell.url("members"))],
    )
    return ask(shell, question)


def resend(shell: OrganizationShell, invitation_id: str) -> Response:
    """A new link in the place of the one before."""
    invitation = invitations.get_invitation(shell.work, shell.organization.id, invitation_id)
    roles.check_may_give_role(shell.work, shell.rights, shell.organization.id, invitation.role)
    return _handed_over(shell, invitation, invitations.resend_invitation(shell.work, invitation), "resent")


def show_withdraw(shell: OrganizationShell, invitation_id: str) -> Response:
    """The question."""
    invitation = invitations.get_invitation(shell.work, shell.organization.id, invitation_id)
    question = Question(
        f"Withdraw the invitation of {invitation.email}?",
        ("The link they got stops working. You can invite them again at any time.",),
        "Withdraw invitation",
        shell.url("members"),
        trail=[Link("Members", shell.url("members"))],
    )
    return ask(shell, question)


def withdraw(shell: OrganizationShell, invitation_id: str) -> Response:
    """Ends the invitation."""
    invitation = invitations.get_invitation(shell.work, shell.organization.id, invitation_id)
    invitations.revoke_invitation(shell.work, invitation)
    return shell.redirect("members", done="withdrawn")


def _handed_over(shell: OrganizationShell, invitation: Invitation, token: str | None, done: str) -> Response:
    if token is None:
        return shell.redirect("members", done=done)
    return shell.render(
        "dashboard/members/link.html",
        invitation=invitation,
        link=invitations.link_of(shell.work, token),
        list_url=shell.url("members"),
    )
