"""The roles of an organization: those that every one has, and its own."""

from __future__ import annotations

from typing import Final

from flask.wrappers import Response

from server.domain import roles
from server.domain.errors import Denied
from server.domain.policy.role_permissions import ROLES
from server.domain.roles import CustomRole
from server.web.dashboard.permissions import (
    chosen_permissions,
    described,
    patterns_among,
    permission_groups,
)
from server.web.dashboard.question import Question, ask
from server.web.dashboard.shell import Link, OrganizationShell

_NOTICES: Final = {
    "made": "The role is made. Give it to members on the page Members.",
    "saved": "The role is saved. It counts from now on for everybody who has it.",
    "deleted": "The role is deleted.",
}
#: What the built-in roles reach of the deployment's own permissions.
_API_ACCESS: Final = {
    "all": "And all that the API itself offers.",
    "ordinary": "And what the API itself offers, where it is not sensitive.",
    "none": "And nothing that the API itself offers.",
}


def show_roles(shell: OrganizationShell) -> Response:
    """All roles with what they allow."""
    known = roles.list_roles(shell.work, shell.organization.id)
    return shell.render(
        "dashboard/roles/list.html",
        notices=_NOTICES,
        built_in=[(role, described(role.permissions)) for role in known if role.is_built_in],
        api_access={role.name: _API_ACCESS[role.api] for role in ROLES.values()},
        own=[(role, described(role.permissions)) for role in known if not role.is_built_in],
        here=shell.url("roles"),
    )


def show_new_role(shell: OrganizationShell) -> Response:
    """The form for a new one."""
    return _form(shell, None)


def create_role(shell: OrganizationShell) -> Response:
    """Makes it."""
    name = shell.value("name").strip()
    roles.create_role(
        shell.work,
        shell.organization,
        name,
        chosen_permissions(shell),
        shell.value("description"),
        maker_rights=shell.rights,
    )
    return shell.redirect("roles", done="made")


def show_role(shell: OrganizationShell, role_id: str) -> Response:
    """The form for one of the organization's own."""
    return _form(shell, _role(shell, role_id))


def change_role(shell: OrganizationShell, role_id: str) -> Response:
    """Saves it."""
    roles.update_role(
        shell.work,
        _role(shell, role_id),
        permissions=chosen_permissions(shell),
        description=shell.value("description"),
        maker_rights=shell.rights,
    )
    return shell.redirect("roles", done="saved")


def show_delete_role(shell: OrganizationShell, role_id: str) -> Response:
    """The question."""
    role = _role(shell, role_id)
    question = Question(
        f"Delete the role {role.name}?",
        ("A role that members have cannot be deleted. Open invitations to it can no longer be accepted.",),
        "Delete role",
        shell.url("roles", role.id),
        trail=[Link("Roles", shell.url("roles"))],
    )
    return ask(shell, question)


def delete_role(shell: OrganizationShell, role_id: str) -> Response:
    """Removes it."""
    roles.delete_role(shell.work, _role(shell, role_id))
    return shell.redirect("roles", done="deleted")


def _role(shell: OrganizationShell, role_id: str) -> CustomRole:
    """One of the organization's own that allows no more than the person may do.

    Raises:
        NotFound: when there is none.
        Denied: when it allows more.
    """
    role = roles.get_role(shell.work, shell.organization.id, role_id)
    rights = roles.rights_of_role(shell.work, shell.organization.id, role.name)
    if roles.exceeds(shell.work, rights, shell.rights):
        raise Denied(f"You cannot change the role {role.name}: it allows more than you may do yourself.")
    return role


def _form(shell: OrganizationShell, role: CustomRole | None) -> Response:
    present = tuple(role.permissions) if role else ()
    return shell.render(
        "dashboard/roles/form.html",
        role=role,
        groups=permission_groups(shell.rights, shell.values("permissions", present)),
        patterns=shell.value("patterns", patterns_among(present, shell.rights)),
        action=shell.url("roles", role.id if role else "new"),
        delete_url=shell.url("roles", role.id, "delete") if role else None,
        list_url=shell.url("roles"),
    )
