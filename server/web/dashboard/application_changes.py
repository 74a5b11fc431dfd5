"""Changing an application: what is registered, whether it works, and its end."""

from __future__ import annotations

from flask.wrappers import Response

from server.domain.clients import Client, disable_client, enable_client
from server.domain.deletion import delete_client, describe_deletion
from server.domain.errors import Invalid
from server.domain.organization_clients import change_organization_client, check_may_end, check_reach
from server.web.dashboard.application_form import form_values, typed_metadata
from server.web.dashboard.application_secrets import show_secret_once
from server.web.dashboard.application_types import type_of
from server.web.dashboard.applications import application_of, trail_to
from server.web.dashboard.question import Question, ask
from server.web.dashboard.shell import OrganizationShell


def show_edit(shell: OrganizationShell, client_id: str) -> Response:
    """The form, filled with what is registered."""
    client = application_of(shell, client_id)
    check_reach(client, shell.rights)
    return shell.render(
        "dashboard/applications/edit.html",
        **form_values(shell, type_of(client.client_type), client),
        client=client,
        trail_links=trail_to(shell, client),
        action=shell.url("applications", client.id, "edit"),
        here=shell.url("applications", client.id),
    )


def save_edit(shell: OrganizationShell, client_id: str) -> Response:
    """Saves it; a change may take a new secret, which is shown this once."""
    client = application_of(shell, client_id)
    changes = typed_metadata(shell, type_of(client.client_type))
    secret = change_organization_client(shell.work, client, changes, shell.rights)
    if secret is not None:
        return show_secret_once(shell, client, secret)
    return shell.redirect("applications", client.id, done="saved")


def show_disable(shell: OrganizationShell, client_id: str) -> Response:
    """The question, with what follows."""
    client = application_of(shell, client_id)
    check_may_end(client)
    sentences = (
        "Nobody can sign in to it any more, and its secrets and tokens are refused everywhere, within a second.",
        "Nothing is lost: what is registered, its secrets and what people allowed come back when it is enabled.",
    )
    return _ask(shell, client, f"Disable {client.client_name}?", sentences, "Disable")


def disable(shell: OrganizationShell, client_id: str) -> Response:
    """Suspends it."""
    client = application_of(shell, client_id)
    check_may_end(client)
    disable_client(shell.work, client)
    return shell.redirect("applications", client_id, done="disabled")


def show_enable(shell: OrganizationShell, client_id: str) -> Response:
    """The question."""
    client = application_of(shell, client_id)
    check_reach(client, shell.rights)
    sentences = ("People can sign in to it again, and its secrets work again. Codes that were used stay used.",)
    return _ask(shell, client, f"Enable {client.client_name}?", sentences, "Enable", is_risky=False)


def enable(shell: OrganizationShell, client_id: str) -> Response:
    """Lets it work again."""
    client = application_of(shell, client_id)
    check_reach(client, shell.rights)
    enable_client(shell.work, client)
    return shell.redirect("applications", client.id, done="enabled")


def show_delete(shell: OrganizationShell, client_id: str) -> Response:
    """The question, with what goes along."""
    client = application_of(shell, client_id)
    check_may_end(client)
    return ask(
        shell,
        Question(
            f"Delete {client.client_name}?",
            ("This cannot be undone. A new application gets another client ID.",),
            "Delete",
            shell.url("applications", client.id),
            trail=trail_to(shell, client),
            typed_name=client.client_name,
            consequences=describe_deletion(shell.work, client),
        ),
    )


def delete(shell: OrganizationShell, client_id: str) -> Response:
    """Deletes it.

    Raises:
        Invalid: when the name was not typed.
    """
    client = application_of(shell, client_id)
    check_may_end(client)
    if shell.value("typed_name").strip() != client.client_name:
        raise Invalid("typed_name", "This is not the name of the application.")
    delete_client(shell.work, client)
    return shell.redirect("applications", done="deleted")


def _ask(
    shell: OrganizationShell,
    client: Client,
    heading: str,
    sentences: tuple[str, ...],
    label: str,
    is_risky: bool = True,
) -> Response:
    back_url = shell.url("applications", client.id)
    return ask(shell, Question(heading, sentences, label, back_url, is_risky, trail_to(shell, client)))
