"""The members of an organization: who they are, what they may do, and taking that away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flask.wrappers import Response

from server.domain import invitations, memberships, roles
from server.domain.memberships import Membership
from server.domain.roles import RoleView
from server.domain.users import User, find_user
from server.infra import mail
from server.web.dashboard.question import Question, ask
from server.web.dashboard.shell import Link, OrganizationShell
from server.web.pages import Person, page_url, person, redirect_to

NOTICES: Final = {
    "invited": "The invitation is on its way.",
    "resent": "A new link is on its way. The one before no longer works.",
    "withdrawn": "The invitation is withdrawn. Its link no longer works.",
    "changed": "The role is changed. It counts from now on, also for the member’s API keys.",
    "suspended": "The member is suspended.",
    "resumed": "The member may act here again.",
    "removed": "The member is removed.",
}


@dataclass(frozen=True)
class MemberRow:
    """One member in the list."""

    membership: Membership
    person: Person
    role_title: str
    is_you: bool
    may_change: bool
    url: str


def show_members(shell: OrganizationShell) -> Response:
    """Everybody, and who is invited."""
    titles = {role.name: role.title for role in roles.list_roles(shell.work, shell.organization.id)}
    known = memberships.list_memberships(shell.work, shell.organization.id)
    waiting = invitations.list_invitations(shell.work, shell.organization.id) if shell.may("users:write") else ()
    return shell.render(
        "dashboard/members/list.html",
        notices=NOTICES,
        rows=[_row(shell, membership, user, titles) for membership, user in known],
        invitations=[
            (each, titles.get(each.role, each.role), invitations.state_of(each, shell.work.now)) for each in waiting
        ],
        here=shell.url("members"),
        is_mailing=mail.is_configured(shell.work.settings),
    )


def show_member(shell: OrganizationShell, membership_id: str) -> Response:
    """One member: the form for the role, and the ways to take it away."""
    membership, user = _member(shell, membership_id)
    return shell.render(
        "dashboard/members/member.html",
        membership=membership,
        member=person(user),
        is_you=user.id == shell.user.id,
        roles=roles_to_give(shell),
        action=shell.url("members", membership.id),
        here=shell.url("members", membership.id),
        list_url=shell.url("members"),
    )


def change_member(shell: OrganizationShell, membership_id: str) -> Response:
    """Gives the member another role."""
    membership, _ = _member(shell, membership_id)
    role = shell.value("role")
    roles.check_may_give_role(shell.work, shell.rights, shell.organization.id, role)
    memberships.change_role(shell.work, membership, role)
    return shell.redirect("members", done="changed")


def show_suspend(shell: OrganizationShell, membership_id: str) -> Response:
    """The question."""
    membership, user = _member(shell, membership_id)
    sentences = (
        f"{user.display_name} can see and do nothing in {shell.organization.name} until you resume the membership.",
        "Their API keys of this organization stop working at once, and work again when they are resumed.",
    )
    return _ask(shell, membership, Question(f"Suspend {user.display_name}?", sentences, "Suspend member", ""))


def suspend(shell: OrganizationShell, membership_id: str) -> Response:
    """Takes the rights away for a while."""
    memberships.suspend_membership(shell.work, _member(shell, membership_id)[0])
    return shell.redirect("members", done="suspended")


def show_resume(shell: OrganizationShell, membership_id: str) -> Response:
    """The question."""
    membership, user = _member(shell, membership_id)
    sentences = ("They have the rights of their role again, and so have their API keys that have not expired.",)
    question = Question(f"Resume {user.display_name}?", sentences, "Resume member", "", is_risky=False)
    return _ask(shell, membership, question)


def resume(shell: OrganizationShell, membership_id: str) -> Response:
    """Gives the rights back."""
    memberships.resume_membership(shell.work, _member(shell, membership_id)[0])
    return shell.redirect("members", done="resumed")


def show_remove(shell: OrganizationShell, membership_id: str) -> Response:
    """The question."""
    membership, user = _member(shell, membership_id)
    sentences = (
        f"{user.display_name} loses access to {shell.organization.name}. Their account stays.",
        "Their API keys of this organization stop working at once. Replace those first that something depends on.",
    )
    return _ask(shell, membership, Question(f"Remove {user.display_name}?", sentences, "Remove member", ""))


def remove(shell: OrganizationShell, membership_id: str) -> Response:
    """Ends the membership."""
    memberships.remove_member(shell.work, _member(shell, membership_id)[0])
    return shell.redirect("members", done="removed")


def show_leave(shell: OrganizationShell) -> Response:
    """The question to oneself."""
    sentences = (
        "You lose access to it, and your API keys of it stop working at once.",
        "Only somebody who may invite members can bring you back.",
    )
    return _ask(shell, None, Question(f"Leave {shell.organization.name}?", sentences, "Leave organization", ""))


def leave(shell: OrganizationShell) -> Response:
    """Ends one's own membership."""
    memberships.remove_member(shell.work, shell.membership)
    return redirect_to(page_url("dashboard?all&done=left"))


def roles_to_give(shell: OrganizationShell) -> list[RoleView]:
    """The roles that allow no more than the person may do."""
    work, organization_id = shell.work, shell.organization.id
    return [
        role
        for role in roles.list_roles(work, organization_id)
        if not roles.exceeds(work, roles.rights_of_role(work, organization_id, role.name), shell.rights)
    ]


def _row(shell: OrganizationShell, membership: Membership, user: User, titles: dict[str, str]) -> MemberRow:
    work = shell.work
    rights = roles.rights_of_role(work, shell.organization.id, membership.role)
    return MemberRow(
        membership,
        person(user),
        titles.get(membership.role, membership.role),
        is_you=user.id == shell.user.id,
        may_change=shell.may("users:write") and not roles.exceeds(work, rights, shell.rights),
        url=shell.url("members", membership.id),
    )


def _member(shell: OrganizationShell, membership_id: str) -> tuple[Membership, User]:
    """A member whom the person may change.

    Raises:
        NotFound: when there is none here.
        Denied: when the member's role allows more than the person's.
    """
    membership = memberships.get_membership(shell.work, shell.organization.id, membership_id)
    roles.check_may_change_member(shell.work, shell.rights, membership)
    user = find_user(shell.work, membership.user_id)
    assert user is not None, "a membership goes when its person does"
    return membership, user


def _ask(shell: OrganizationShell, membership: Membership | None, question: Question) -> Response:
    links = [Link("Members", shell.url("members"))]
    back_url = shell.url("members", membership.id) if membership else shell.url("members")
    return ask(
        shell,
        Question(
            question.heading, question.sentences, question.label, back_url, is_risky=question.is_risky, trail=links
        ),
    )
