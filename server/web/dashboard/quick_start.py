"""Quick start: programs that run as they stand, with this application's own ids in them, in four languages.

What is shown are the files in `templates/dashboard/applications/snippets/`, which the tests run against a live server.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from flask import render_template, request
from flask.wrappers import Response

from server.config import Settings
from server.domain.client_secrets import needs_secret
from server.domain.clients import Client
from server.domain.scopes import OPENID, PERSONAL, format_scopes, parse
from server.web.dashboard.application_types import type_of
from server.web.dashboard.applications import application_of, trail_to
from server.web.dashboard.shell import Link, OrganizationShell


@dataclass(frozen=True)
class Language:
    """One language that there are snippets in."""

    name: str
    label: str
    extension: str
    #: How the file is run.
    command: str


_SHOWN_METHODS: Final = frozenset({"client_secret_basic", "client_secret_post", "none"})
LANGUAGES: Final = {
    each.name: each
    for each in (
        Language("curl", "curl", "sh", "sh"),
        Language("python", "Python", "py", "python3"),
        Language("javascript", "JavaScript", "mjs", "node"),
        Language("go", "Go", "go", "go run"),
    )
}


def show_quick_start(shell: OrganizationShell, client_id: str) -> Response:
    """The program in one language; the others are links."""
    client = application_of(shell, client_id)
    language = LANGUAGES.get(request.args.get("language", ""), LANGUAGES["curl"])
    here = shell.url("applications", client.id, "quick-start")
    return shell.render(
        "dashboard/applications/quick_start.html",
        client=client,
        kind=type_of(client.client_type),
        tabs=[
            Link(each.label, f"{here}?language={each.name}", is_current=each is language) for each in LANGUAGES.values()
        ],
        code=snippet(shell.work.settings, client, language),
        file_name=f"{_program(client)}.{language.extension}",
        command=language.command,
        has_secret=needs_secret(client),
        # The snippets prove themselves in the usual way.
        other_method=None if client.token_endpoint_auth_method in _SHOWN_METHODS else client.token_endpoint_auth_method,
        secrets_url=shell.url("applications", client.id) + "#secrets",
        trail_links=trail_to(shell, client),
    )


def snippet(settings: Settings, client: Client, language: Language) -> str:
    """The program, ready to run."""
    scope = _scope(client)
    return render_template(
        f"dashboard/applications/snippets/{_program(client)}.{language.extension}",
        issuer=settings.issuer,
        client_id=client.id,
        redirect_uri=client.redirect_uris[0] if client.redirect_uris else "",
        scope=scope,
        has_userinfo=OPENID in parse(scope),
        has_secret=needs_secret(client),
        in_body=client.token_endpoint_auth_method == "client_secret_post",
        shell=shlex.quote,
    )


def _program(client: Client) -> str:
    return "sign_in" if client.redirect_uris else "machine"


def _scope(client: Client) -> str:
    """What a first try asks for: who it is, or for a machine all that it may do."""
    allowed = client.allowed_scopes
    if not client.redirect_uris:
        return format_scopes(allowed)
    return format_scopes(allowed & {OPENID, "profile", "email"} or allowed - PERSONAL)
