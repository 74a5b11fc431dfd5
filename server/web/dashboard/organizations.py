"""The settings of an organization: what it is called, and its end."""

from __future__ import annotations

from typing import Final

from flask.wrappers import Response

from server.domain import organizations
from server.domain.deletion import delete_organization, describe_deletion
from server.web.dashboard.page import FormRefused
from server.web.dashboard.question import Question, ask
from server.web.dashboard.shell import Link, OrganizationShell
from server.web.pages import page_url, redirect_to

_NOTICES: Final = {"saved": "Saved."}


def show_settings(shell: OrganizationShell) -> Response:
    """What it is called; a form for whoever may change that."""
    return shell.render(
        "dashboard/organizations/settings.html",
        notices=_NOTICES,
        action=shell.url("settings"),
        delete_url=shell.url("settings", "delete"),
        leave_url=shell.url("members", "leave"),
        example_url=shell.work.settings.url("/dashboard/"),
        # What is typed is not its name yet; in the frame stands what it is called.
        name=shell.value("name", shell.organization.name),
        slug=shell.value("slug", shell.organization.slug),
    )


def change_settings(shell: OrganizationShell) -> Response:
    """Renames it, in words and in addresses."""
    organizations.update_organization(
        shell.work, shell.organization, name=shell.value("name").strip(), slug=shell.value("slug").strip()
    )
    return shell.redirect("settings", done="saved")


def show_delete(shell: OrganizationShell) -> Response:
    """The question: what goes, and the name to type."""
    name = shell.organization.name
    question = Question(
        f"Delete {name}?",
        ("This cannot be taken back. In both environments, live and test:",),
        "Delete organization",
        shell.url("settings"),
        trail=[Link("Settings", shell.url("settings"))],
        typed_name=name,
        consequences=describe_deletion(shell.work, shell.organization),
    )
    return ask(shell, question)


def delete(shell: OrganizationShell) -> Response:
    """Removes it with all that belongs to it."""
    if shell.value("typed_name").strip() != shell.organization.name:
        raise FormRefused({"typed_name": "This is not the organization’s name. Type it as it stands above."})
    delete_organization(shell.work, shell.organization)
    return redirect_to(page_url("dashboard?all&done=deleted"))
