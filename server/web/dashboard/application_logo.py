"""The logo of an application: uploaded, drawn anew, and shown wherever people meet the application."""

from __future__ import annotations

from typing import Final

from flask import request
from flask.wrappers import Response

from server.domain.client_logos import LARGEST_UPLOAD, draw_logo, remove_client_logo, replace_client_logo
from server.domain.organization_clients import check_reach
from server.infra.turns import stepping_aside
from server.web.dashboard.applications import application_of, card, trail_to
from server.web.dashboard.shell import OrganizationShell

#: What a form has around the file.
_ROOM: Final = 4096


def show_logo(shell: OrganizationShell, client_id: str) -> Response:
    """The form."""
    client = application_of(shell, client_id)
    return shell.render(
        "dashboard/applications/logo.html",
        client=client,
        card=card(shell, client),
        largest_kib=(LARGEST_UPLOAD - _ROOM) // 1024,
        action=shell.url("applications", client.id, "logo"),
        here=shell.url("applications", client.id),
        trail_links=trail_to(shell, client),
    )


def save_logo(shell: OrganizationShell, client_id: str) -> Response:
    """Keeps what was uploaded, drawn anew; or removes the logo."""
    client = application_of(shell, client_id)
    check_reach(client, shell.rights)
    if request.form.get("decision") == "remove":
        remove_client_logo(shell.work, client)
        return shell.redirect("applications", client.id, done="logo-removed")
    file = request.files.get("logo")
    upload = file.read() if file is not None else b""
    # Nothing was written yet, and nobody shall wait for a picture.
    shell.work.db.rollback()
    with stepping_aside():
        image = draw_logo(upload)
    client = application_of(shell, client_id)
    replace_client_logo(shell.work, client, image)
    return shell.redirect("applications", client.id, done="logo")
