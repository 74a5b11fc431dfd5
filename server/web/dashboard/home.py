"""The way in: which organization, a new one, and the overview of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flask import request
from flask.wrappers import Response

from server.domain import api_key_reports, api_keys, invitations, memberships, organizations
from server.domain.organization_clients import list_organization_clients
from server.domain.roles import title_of
from server.domain.usability import is_usable
from server.web.dashboard.shell import OrganizationShell, Shell
from server.web.pages import page_url, redirect_to

_NOTICES: Final = {"left": "You have left the organization.", "deleted": "The organization is deleted."}


@dataclass(frozen=True)
class Step:
    """Something to do first."""

    label: str
    remark: str
    icon: str
    url: str


@dataclass(frozen=True)
class Figure:
    """How many there are of something."""

    label: str
    count: int
    remark: str
    url: str


def show_organizations(shell: Shell) -> Response:
    """The organizations of the person; whoever has one only is taken there."""
    known = memberships.list_memberships_of(shell.work, shell.user.id)
    if len(known) == 1 and "all" not in request.args:
        return redirect_to(page_url(f"dashboard/{known[0][1].slug}/live"))
    rows = [
        (organization, title_of(shell.work, organization.id, membership.role)) for membership, organization in known
    ]
    return shell.render("dashboard/home.html", notices=_NOTICES, rows=rows)


def show_confirmed(shell: Shell) -> Response:
    """After signing in again in a second tab."""
    return shell.render("dashboard/confirmed.html")


def show_new(shell: Shell) -> Response:
    """The form for a new organization.

    Raises:
        Denied: where the operator alone makes them.
    """
    organizations.check_may_create_organizations(shell.work)
    return shell.render("dashboard/organizations/new.html", action=page_url("dashboard/organizations/new"))


def create(shell: Shell) -> Response:
    """Makes the organization, with whoever made it as its owner.

    Raises:
        Denied: where the operator alone makes them.
    """
    organizations.check_may_create_organizations(shell.work)
    made = organizations.create_organization(shell.work, shell.value("name"), owner=shell.user)
    return redirect_to(page_url(f"dashboard/{made.slug}/live"))


def show_overview(shell: OrganizationShell) -> Response:
    """What is there, and what to do first."""
    return shell.render(
        "dashboard/overview.html",
        role_title=title_of(shell.work, shell.organization.id, shell.membership.role),
        figures=_figures(shell),
        steps=_steps(shell),
    )


def _figures(shell: OrganizationShell) -> list[Figure]:
    work, organization_id, environment = shell.work, shell.organization.id, shell.environment
    figures = []
    if shell.may("api-keys:read"):
        keys = api_keys.list_api_keys(work, organization_id, environment)
        usable = [key for key in keys if is_usable(work.now, key)]
        ending = len(api_key_reports.keys_expiring_soon(work, organization_id, environment))
        remark = f"{ending or 'None'} {'expire' if ending > 1 else 'expires'} soon"
        figures.append(Figure("API keys", len(usable), remark, shell.url("api-keys")))
    if shell.may("clients:read"):
        clients = list_organization_clients(work, organization_id, environment)
        remark = f"In {environment}, for people and services"
        figures.append(Figure("Applications", len(clients), remark, shell.url("applications")))
    if shell.may("users:read"):
        known = memberships.list_memberships(work, organization_id)
        waiting = len(invitations.list_invitations(work, organization_id))
        figures.append(Figure("Members", len(known), f"{waiting or 'None'} invited", shell.url("members")))
    return figures


def _steps(shell: OrganizationShell) -> list[Step]:
    possible = (
        ("api-keys:write", "Create an API key", "For a program of yours that calls the API.", "key", "api-keys/new"),
        ("clients:write", "Register an application", "To sign people in, or for a service.", "app", "applications/new"),
        ("users:write", "Invite your colleagues", "Each in a role that says what they may do.", "people",
         "members/invite"),
    )  # fmt: skip
    return [
        Step(label, remark, icon, shell.url(path)) for need, label, remark, icon, path in possible if shell.may(need)
    ]
