"""A form that makes something is taken once: sent again by a reload or a double click, it leads to what it has made."""

from __future__ import annotations

from server.domain.errors import Conflict
from server.domain.idempotent_responses import begin_once, keep_response
from server.infra import secrets
from server.web.dashboard.shell import OrganizationShell

#: The hidden field that tells one showing of a form from another.
FIELD = "form_id"


def form_id(shell: OrganizationShell) -> str:
    """The id for the hidden field; the same as before when the form is shown again."""
    return shell.value(FIELD) or secrets.new_id()


def made_before(shell: OrganizationShell) -> str | None:
    """The id of what this very form has made already, or None: then whoever makes it calls `note_made`.

    Raises:
        Conflict: when the form does not say which it is.
    """
    if not shell.value(FIELD):
        raise Conflict("This page was incomplete. Look it over and press the button again.")
    kept = begin_once(shell.work, _identity(shell), "")
    return kept.body.decode() if kept is not None else None


def note_made(shell: OrganizationShell, made_id: str) -> None:
    """Remembers what the form has made."""
    keep_response(shell.work, _identity(shell), 200, made_id.encode())


def _identity(shell: OrganizationShell) -> str:
    return f"dashboard:{shell.user.id}:{shell.organization.id}:{shell.environment}:{shell.value(FIELD)}"
