"""`gatepost organizations`: companies and teams, their members, roles and invitations."""

from __future__ import annotations

from typing import Any

import click

from server.cli.console import json_option, operator_work, show, show_table
from server.domain import deletion, invitations, memberships, roles, users
from server.domain import organizations as registry
from server.domain.invitations import Invitation
from server.domain.memberships import Membership
from server.domain.organizations import Organization
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User


def _describe(organization: Organization) -> dict[str, Any]:
    return {
        "id": organization.id,
        "slug": organization.slug,
        "name": organization.name,
        "created_at": organization.created_at.isoformat(timespec="seconds"),
        "is_suspended": organization.suspended_at is not None,
    }


def _describe_member(membership: Membership, user: User) -> dict[str, Any]:
    return {
        "id": membership.id,
        "user_id": user.id,
        "email": user.email,
        "role": membership.role,
        "is_suspended": membership.suspended_at is not None,
    }


def _describe_invitation(work: UnitOfWork, invitation: Invitation, token: str | None = None) -> dict[str, Any]:
    link = {"link": invitations.link_of(work, token)} if token is not None else {}
    return {
        "id": invitation.id,
        "email": invitation.email,
        "role": invitation.role,
        "state": invitations.state_of(invitation, work.now),
        "expires_at": invitation.expires_at.isoformat(timespec="seconds"),
        "is_mailed": invitation.sent_at is not None,
    } | link


_organization = click.argument("organization")
_user = click.argument("user")
_role = click.option("--role", default="member", show_default=True, help="A role, as `roles` lists it.")


@click.group()
def organizations() -> None:
    """Make, change and remove organizations. One is named by id or slug, a person by id or address."""


@organizations.command()
@click.argument("name")
@click.option("--slug", help="Its name in URLs; by default made of the name.")
@click.option("--owner", help="The person who owns it, by id or address.")
@json_option
def create(name: str, slug: str | None, owner: str | None, as_json: bool) -> None:
    """Make an organization."""
    with operator_work() as work:
        person = users.get_user(work, owner) if owner is not None else None
        document = _describe(registry.create_organization(work, name, slug=slug, owner=person))
    show(document, as_json)


@organizations.command()
@_organization
@click.option("--name", help="Its new name.")
@click.option("--slug", help="Its new name in URLs; the old one leads nowhere.")
@json_option
def update(organization: str, name: str | None, slug: str | None, as_json: bool) -> None:
    """Rename an organization."""
    with operator_work() as work:
        found = registry.get_organization(work, organization)
        registry.update_organization(work, found, name=name, slug=slug)
        document = _describe(found)
    show(document, as_json)


@organizations.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all organizations."""
    with operator_work() as work:
        rows = [_describe(organization) for organization in registry.list_organizations(work)]
    show_table(rows, as_json, empty="There are no organizations. Make one with: gatepost organizations create NAME")


@organizations.command("show")
@_organization
@json_option
def show_(organization: str, as_json: bool) -> None:
    """Show one organization, with what deleting it would remove."""
    with operator_work() as work:
        found = registry.get_organization(work, organization)
        document = _describe(found) | {"deleting": deletion.describe_deletion(work, found)}
    show(document, as_json)


@organizations.command()
@_organization
@json_option
def suspend(organization: str, as_json: bool) -> None:
    """Stop everything of an organization, at once, until it is resumed: its keys, its applications, its pages."""
    with operator_work() as work:
        found = registry.get_organization(work, organization)
        registry.suspend_organization(work, found)
        document = _describe(found)
    show(document, as_json)


@organizations.command()
@_organization
@json_option
def resume(organization: str, as_json: bool) -> None:
    """Let a suspended organization go on."""
    with operator_work() as work:
        found = registry.get_organization(work, organization)
        registry.resume_organization(work, found)
        document = _describe(found)
    show(document, as_json)


@organizations.command()
@_organization
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(organization: str, yes: bool, as_json: bool) -> None:
    """Remove an organization for good, with all that belongs to it; says beforehand what that is."""
    if not yes:
        with operator_work() as work:
            said = deletion.describe_deletion(work, registry.get_organization(work, organization))
        # In no transaction: on SQLite others would wait for the answer.
        click.confirm("\n".join([*said, "Go on?"]), abort=True, err=True)
    with operator_work() as work:
        found = registry.get_organization(work, organization)
        document = _describe(found)
        said = deletion.delete_organization(work, found)
    show(document | {"deleted": True, "removed": said}, as_json)


@organizations.command()
@_organization
@json_option
def members(organization: str, as_json: bool) -> None:
    """List an organization's members."""
    with operator_work() as work:
        found = registry.get_organization(work, organization)
        rows = [_describe_member(*each) for each in memberships.list_memberships(work, found.id)]
    show_table(rows, as_json, empty="The organization has no members. Add one with: gatepost organizations add-member")


@organizations.command("add-member")
@_organization
@_user
@_role
@json_option
def add_member(organization: str, user: str, role: str, as_json: bool) -> None:
    """Make a person a member, without asking them."""
    with operator_work() as work:
        found, person = registry.get_organization(work, organization), users.get_user(work, user)
        document = _describe_member(memberships.add_member(work, found, person, role), person)
    show(document, as_json)


@organizations.command("set-role")
@_organization
@_user
@click.argument("role")
@json_option
def set_role(organization: str, user: str, role: str, as_json: bool) -> None:
    """Give a member another role."""
    with operator_work() as work:
        membership, person = _find_member(work, organization, user)
        memberships.change_role(work, membership, role)
        document = _describe_member(membership, person)
    show(document, as_json)


@organizations.command("remove-member")
@_organization
@_user
@json_option
def remove_member(organization: str, user: str, as_json: bool) -> None:
    """End a membership; the person keeps their account."""
    with operator_work() as work:
        membership, person = _find_member(work, organization, user)
        memberships.remove_member(work, membership)
        document = _describe_member(membership, person)
    show(document | {"removed": True}, as_json)


@organizations.command()
@_organization
@click.argument("email")
@_role
@json_option
def invite(organization: str, email: str, role: str, as_json: bool) -> None:
    """Invite somebody. Where no mail server is configured, the link is shown this once: hand it over."""
    with operator_work() as work:
        found = registry.get_organization(work, organization)
        invitation, token = invitations.invite(work, found, email, role, inviter=None)
        document = _describe_invitation(work, invitation, token)
    show(document, as_json)


@organizations.command("invitations")
@_organization
@json_option
def invitations_(organization: str, as_json: bool) -> None:
    """List the invitations that wait to be accepted."""
    with operator_work() as work:
        found = registry.get_organization(work, organization)
        rows = [_describe_invitation(work, each) for each in invitations.list_invitations(work, found.id)]
    show_table(rows, as_json, empty="No invitation waits.")


@organizations.command("revoke-invitation")
@_organization
@click.argument("invitation")
@json_option
def revoke_invitation(organization: str, invitation: str, as_json: bool) -> None:
    """Take an invitation back."""
    with operator_work() as work:
        found = registry.get_organization(work, organization)
        invited = invitations.get_invitation(work, found.id, invitation)
        invitations.revoke_invitation(work, invited)
        document = _describe_invitation(work, invited)
    show(document, as_json)


@organizations.command("roles")
@_organization
@json_option
def roles_(organization: str, as_json: bool) -> None:
    """List the roles that an organization's members may have."""
    with operator_work() as work:
        found = registry.get_organization(work, organization)
        rows = [
            {"name": role.name, "is_built_in": role.is_built_in, "permissions": list(role.permissions)}
            for role in roles.list_roles(work, found.id)
        ]
    show_table(rows, as_json, empty="")


@organizations.command("create-role")
@_organization
@click.argument("name")
@click.argument("permissions", nargs=-1, required=True)
@click.option("--description", default="", help="A sentence for people.")
@json_option
def create_role(organization: str, name: str, permissions: tuple[str, ...], description: str, as_json: bool) -> None:
    """Make a role of the organization's own out of permissions."""
    with operator_work() as work:
        found = registry.get_organization(work, organization)
        role = roles.create_role(work, found, name, permissions, description, maker_rights=None)
        document = {"id": role.id, "name": role.name, "permissions": list(role.permissions)}
    show(document, as_json)


@organizations.command("delete-role")
@_organization
@click.argument("name")
@json_option
def delete_role(organization: str, name: str, as_json: bool) -> None:
    """Remove a role of the organization's own that no member has."""
    with operator_work() as work:
        role = roles.get_role(work, registry.get_organization(work, organization).id, name)
        document = {"id": role.id, "name": role.name}
        roles.delete_role(work, role)
    show(document | {"deleted": True}, as_json)


def _find_member(work: UnitOfWork, organization: str, user: str) -> tuple[Membership, User]:
    person = users.get_user(work, user)
    return memberships.get_membership(work, registry.get_organization(work, organization).id, person.id), person
