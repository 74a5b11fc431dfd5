"""The applications of an organization: the list, registering one, and everything about one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flask.wrappers import Response

from server.domain.client_registration import ClientMetadata
from server.domain.client_secrets import list_client_secrets
from server.domain.clients import Client
from server.domain.credential_usage import last_use_of, usage_of
from server.domain.organization_clients import (
    create_organization_client,
    get_organization_client,
    list_organization_clients,
)
from server.domain.scopes import parse
from server.domain.users import find_user
from server.web.dashboard.application_form import form_values, typed_metadata
from server.web.dashboard.application_secrets import SecretRow, secret_rows, show_secret_once
from server.web.dashboard.application_types import TYPES, ApplicationType, application_type, type_of
from server.web.dashboard.once import FIELD, form_id, made_before, note_made
from server.web.dashboard.permissions import described
from server.web.dashboard.shell import Link, OrganizationShell
from server.web.dashboard.usage_chart import DAYS, usage_chart
from server.web.pages import initials, logo_url

NOTICES: Final = {
    "created": "The application is registered.",
    "made": "This form was taken already. A secret is shown once: add another if you did not copy it.",
    "saved": "Saved.",
    "disabled": "The application is disabled. Nothing of it works until it is enabled again.",
    "enabled": "The application works again.",
    "ended": "The secret has ended.",
    "logo": "The logo is saved.",
    "logo-removed": "The logo is removed.",
    "deleted": "The application is deleted.",
}


@dataclass(frozen=True)
class ApplicationCard:
    """An application as pages show it."""

    client: Client
    kind: ApplicationType
    url: str
    initials: str
    logo_url: str | None


def card(shell: OrganizationShell, client: Client) -> ApplicationCard:
    """A client for a page."""
    url = shell.url("applications", client.id)
    return ApplicationCard(client, type_of(client.client_type), url, initials(client.client_name), logo_url(client))


def application_of(shell: OrganizationShell, client_id: str) -> Client:
    """The application of this id in this organization and environment.

    Raises:
        NotFound: when there is none here.
    """
    return get_organization_client(shell.work, shell.organization.id, shell.environment, client_id)


def trail_to(shell: OrganizationShell, *clients: Client) -> list[Link]:
    """The way back, to the list or to one application."""
    links = [Link("Applications", shell.url("applications"))]
    return links + [Link(client.client_name, shell.url("applications", client.id)) for client in clients]


def show_applications(shell: OrganizationShell) -> Response:
    """The list."""
    clients = list_organization_clients(shell.work, shell.organization.id, shell.environment)
    return shell.render(
        "dashboard/applications/list.html",
        notices=NOTICES,
        cards=[card(shell, client) for client in clients],
        last_uses=last_use_of(shell.work, "client", [client.id for client in clients]),
        new_url=shell.url("applications", "new"),
    )


def show_types(shell: OrganizationShell) -> Response:
    """Which type first: everything else follows from it."""
    return shell.render(
        "dashboard/applications/types.html",
        types=TYPES.values(),
        new_url=shell.url("applications", "new"),
        trail_links=trail_to(shell),
    )


def show_new_application(shell: OrganizationShell, client_type: str) -> Response:
    """The form of one type."""
    kind = application_type(client_type)
    return shell.render(
        "dashboard/applications/new.html",
        **form_values(shell, kind),
        form_id=form_id(shell),
        form_id_field=FIELD,
        action=shell.url("applications", "new", kind.name),
        types_url=shell.url("applications", "new"),
        trail_links=[*trail_to(shell), Link("New", shell.url("applications", "new"))],
    )


def create_application(shell: OrganizationShell, client_type: str) -> Response:
    """Registers it, and shows its secret this once if it has one."""
    kind = application_type(client_type)
    before = made_before(shell)
    if before is not None:
        return shell.redirect("applications", before, done="made")
    metadata = ClientMetadata(
        client_type=kind.name,
        organization_id=shell.organization.id,
        environment=shell.environment,
        created_by=shell.user.id,
        **typed_metadata(shell, kind),
    )
    client, secret = create_organization_client(shell.work, metadata, shell.rights)
    note_made(shell, client.id)
    if secret is None:
        return shell.redirect("applications", client.id, done="created")
    return show_secret_once(shell, client, secret, is_new=True)


def show_application(shell: OrganizationShell, client_id: str) -> Response:
    """Everything about one of them but its secrets."""
    client = application_of(shell, client_id)
    return shell.render(
        "dashboard/applications/detail.html",
        notices=NOTICES,
        card=card(shell, client),
        client=client,
        kind=type_of(client.client_type),
        scopes=described(parse(client.scope)),
        secrets=_secrets(shell, client),
        last_use=last_use_of(shell.work, "client", [client.id]).get(client.id),
        chart=usage_chart(usage_of(shell.work, "client", client.id, DAYS), shell.work.now.date()),
        created_by=find_user(shell.work, client.created_by) if client.created_by else None,
        trail_links=trail_to(shell),
        here=shell.url("applications", client.id),
        discovery_url=shell.work.settings.url("/.well-known/openid-configuration"),
    )


def _secrets(shell: OrganizationShell, client: Client) -> list[SecretRow]:
    return secret_rows(shell, client, list_client_secrets(shell.work, client))
