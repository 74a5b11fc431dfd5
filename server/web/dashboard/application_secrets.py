"""The secrets of an application: a new one with an overlap, shown this once, and the end of an old one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flask.wrappers import Response

from server.domain.client_secrets import (
    ClientSecret,
    end_client_secret,
    issue_client_secret,
    list_client_secrets,
    needs_secret,
    rotate_client_secret,
)
from server.domain.clients import Client
from server.domain.errors import Conflict, Invalid, NotFound
from server.domain.organization_clients import check_may_end, check_reach, get_organization_client
from server.domain.policy.lifetimes import is_expired
from server.web.dashboard.once import FIELD, form_id, made_before, note_made
from server.web.dashboard.question import Question, ask
from server.web.dashboard.shell import Link, OrganizationShell

#: How long the secrets that are there go on working; `keep` leaves them as they are.
OVERLAPS: Final = (
    ("86400", "24 hours", "Time to put the new secret everywhere."),
    ("604800", "7 days", "For apps that are deployed once a week."),
    ("2592000", "30 days", "For copies that others run."),
    ("3600", "1 hour", "For a deployment that happens now."),
    ("0", "They end at once", "When a secret has leaked. What still uses it is refused from now on."),
    ("keep", "Leave them as they are", "The new secret is one more; end the others when you no longer need them."),
)
_MOST_SECRETS: Final = 10


@dataclass(frozen=True)
class SecretRow:
    """One secret in a list: never more of it than its last four characters."""

    id: str
    hint: str
    created_at: datetime
    expires_at: datetime | None
    is_over: bool
    end_url: str


def secret_rows(shell: OrganizationShell, client: Client, secrets: Sequence[ClientSecret]) -> list[SecretRow]:
    """The client's secrets for a page, newest first."""
    return [
        SecretRow(
            each.id,
            each.hint,
            each.created_at,
            each.expires_at,
            _is_over(shell, each),
            shell.url("applications", client.id, "secrets", each.id, "end"),
        )
        for each in reversed(secrets)
    ]


def show_secret_once(shell: OrganizationShell, client: Client, secret: str, *, is_new: bool = False) -> Response:
    """The page that nobody sees twice."""
    return shell.render(
        "dashboard/applications/secret.html",
        client=client,
        secret=secret,
        is_new=is_new,
        here=shell.url("applications", client.id),
        trail_links=_trail(shell, client),
        quick_start_url=shell.url("applications", client.id, "quick-start"),
    )


def show_new_secret(shell: OrganizationShell, client_id: str) -> Response:
    """The form: what becomes of the secrets that are there?"""
    client = _client_with_secrets(shell, client_id)
    live = [each for each in list_client_secrets(shell.work, client) if not _is_over(shell, each)]
    return shell.render(
        "dashboard/applications/new_secret.html",
        client=client,
        live=secret_rows(shell, client, live),
        overlaps=OVERLAPS,
        overlap=shell.value("overlap", OVERLAPS[0][0]),
        form_id=form_id(shell),
        form_id_field=FIELD,
        action=shell.url("applications", client.id, "secrets", "new"),
        here=shell.url("applications", client.id),
        trail_links=_trail(shell, client),
    )


def create_secret(shell: OrganizationShell, client_id: str) -> Response:
    """Makes it and shows it."""
    client = _client_with_secrets(shell, client_id)
    check_reach(client, shell.rights)
    if made_before(shell) is not None:
        return shell.redirect("applications", client.id, done="made")
    live = [each for each in list_client_secrets(shell.work, client) if not _is_over(shell, each)]
    if len(live) >= _MOST_SECRETS:
        raise Conflict(f"An application has at most {_MOST_SECRETS} secrets at once. End one first.")
    secret = _issue(shell, client, shell.value("overlap"))
    note_made(shell, client.id)
    return show_secret_once(shell, client, secret)


def show_end_secret(shell: OrganizationShell, client_id: str, secret_id: str) -> Response:
    """The question."""
    client = _client_with_secrets(shell, client_id)
    check_may_end(client)
    rows = secret_rows(shell, client, list_client_secrets(shell.work, client))
    row = next((each for each in rows if each.id == secret_id), None)
    if row is None:
        raise NotFound("The application has no such secret.")
    is_last = not any(not each.is_over and each.id != row.id for each in rows)
    sentences = ["Whatever still uses it is refused from now on. It cannot be brought back."]
    if is_last:
        sentences.insert(0, "This is the last secret that works: without it the application can get no tokens.")
    heading, back_url = f"End the secret …{row.hint}?", shell.url("applications", client.id)
    return ask(shell, Question(heading, sentences, "End secret", back_url, trail=_trail(shell, client)))


def end_secret(shell: OrganizationShell, client_id: str, secret_id: str) -> Response:
    """Ends it now."""
    client = _client_with_secrets(shell, client_id)
    check_may_end(client)
    end_client_secret(shell.work, client, secret_id)
    return shell.redirect("applications", client.id, done="ended")


def _issue(shell: OrganizationShell, client: Client, overlap: str) -> str:
    if overlap not in {value for value, _, _ in OVERLAPS}:
        raise Invalid("overlap", "Choose what becomes of the secrets that are there.")
    if overlap == "keep":
        return issue_client_secret(shell.work, client)
    return rotate_client_secret(shell.work, client, int(overlap))


def _client_with_secrets(shell: OrganizationShell, client_id: str) -> Client:
    client = get_organization_client(shell.work, shell.organization.id, shell.environment, client_id)
    if not needs_secret(client):
        raise Conflict("This application proves itself without a secret.")
    return client


def _is_over(shell: OrganizationShell, secret: ClientSecret) -> bool:
    return secret.expires_at is not None and is_expired(shell.work.now, secret.expires_at)


def _trail(shell: OrganizationShell, client: Client) -> list[Link]:
    return [
        Link("Applications", shell.url("applications")),
        Link(client.client_name, shell.url("applications", client.id)),
    ]
