"""The form of an application: what it offers, and what was typed into it as metadata of a client."""

from __future__ import annotations

from typing import Any, Final

from server.domain import redirect_uris
from server.domain.clients import Client
from server.domain.errors import Invalid
from server.domain.policy.client_metadata import DEFAULTS
from server.domain.policy.role_permissions import MANAGEMENT_NAMES
from server.domain.scopes import PERSONAL, catalogue, format_scopes, parse
from server.web.dashboard.application_types import ApplicationType
from server.web.dashboard.page import FormRefused
from server.web.dashboard.permissions import (
    CHOSEN,
    PATTERNS,
    PermissionGroup,
    PermissionLine,
    chosen_permissions,
    patterns_among,
    permission_groups,
)
from server.web.dashboard.shell import OrganizationShell

#: What the fields are called, for the summary of what is wrong.
LABELS: Final = {
    "client_name": "Name",
    "client_uri": "Home page",
    "policy_uri": "Privacy policy",
    "tos_uri": "Terms of service",
    "redirect_uris": "Redirect URIs",
    "post_logout_redirect_uris": "Return addresses after signing out",
    "scope": "Scopes",
}
#: How a secret is sent; other ways to prove who it is need keys, and are registered over the API.
SENDING: Final = (
    ("client_secret_basic", "In the Authorization header", "What most libraries do by themselves."),
    (
        "client_secret_post",
        "In the body of the request",
        "For programs that send client_id and client_secret as fields.",
    ),
)
_LINKS: Final = ("client_uri", "policy_uri", "tos_uri")
_URIS: Final = ("redirect_uris", "post_logout_redirect_uris")


def form_values(shell: OrganizationShell, kind: ApplicationType, client: Client | None = None) -> dict[str, Any]:
    """What the form shows: what was typed, what is registered, or the safe start for the type."""
    registered = {name: getattr(client, name) or "" for name in ("client_name", *_LINKS)} if client else {}
    lists = {name: "\n".join(getattr(client, name)) for name in _URIS} if client else {}
    values = {name: shell.value(name, registered.get(name, "")) for name in ("client_name", *_LINKS)}
    values |= {name: shell.value(name, lists.get(name, "")) for name in _URIS}
    chosen = _chosen(shell, kind, client)
    signs = client.jwt_authentication if client else False
    groups = scope_groups(shell, kind, chosen)
    method = client.token_endpoint_auth_method if client else DEFAULTS[kind.name].token_endpoint_auth_method
    return values | {
        "groups": groups,
        "patterns": patterns_among(chosen - PERSONAL, shell.rights),
        "jwt_authentication": bool(shell.value("jwt_authentication", "yes" if signs else "")),
        "method": shell.value("token_endpoint_auth_method", method),
        "sending": SENDING if kind.has_secret and method in {name for name, _, _ in SENDING} else (),
        "labels": LABELS,
        # Few applications manage the organization; what few need stands behind a line.
        "folded": [group.title for group in groups if group.lines[0].name in MANAGEMENT_NAMES],
        "kind": kind,
    }


def scope_groups(shell: OrganizationShell, kind: ApplicationType, chosen: frozenset[str]) -> list[PermissionGroup]:
    """The scopes to tick: what speaks about a person first, unless nobody signs in."""
    groups = permission_groups(shell.rights, chosen)
    if not kind.signs_people_in:
        return groups
    known = catalogue(shell.work.settings)
    personal = [
        PermissionLine(name, scope.sentence, scope.sensitive, name in chosen)
        for name, scope in known.items()
        if name in PERSONAL
    ]
    return [PermissionGroup("About the person who signs in", personal), *groups]


def typed_metadata(shell: OrganizationShell, kind: ApplicationType) -> dict[str, Any]:
    """What was typed, by the names of the metadata.

    Raises:
        FormRefused: naming every line that no client of this type may register.
    """
    typed: dict[str, Any] = {"client_name": shell.value("client_name").strip()}
    typed |= {name: shell.value(name).strip() or None for name in _LINKS}
    typed["scope"] = format_scopes(chosen_permissions(shell))
    if kind.has_secret:
        typed["jwt_authentication"] = bool(shell.value("jwt_authentication"))
        method = shell.value("token_endpoint_auth_method")
        typed |= {"token_endpoint_auth_method": method} if method in {name for name, _, _ in SENDING} else {}
    if kind.signs_people_in:
        typed |= _typed_uris(shell, kind)
    return typed


def _typed_uris(shell: OrganizationShell, kind: ApplicationType) -> dict[str, tuple[str, ...]]:
    uris = {name: tuple(shell.value(name).split()) for name in _URIS}
    errors = {name: faults for name in _URIS if (faults := _faults(shell, kind, uris[name]))}
    if not uris["redirect_uris"]:
        errors["redirect_uris"] = f"Where shall people return to? For example {kind.example_uri}"
    if errors:
        raise FormRefused(errors)
    return {name: tuple(dict.fromkeys(each)) for name, each in uris.items()}


def _faults(shell: OrganizationShell, kind: ApplicationType, uris: tuple[str, ...]) -> str:
    """What is wrong with each line, in one text."""
    found = []
    for number, uri in enumerate(uris, start=1):
        try:
            redirect_uris.check_registrable(
                uri, native=kind.name == "native", local_http=not shell.work.settings.is_https
            )
        except Invalid as fault:
            place = f"Line {number}: " if len(uris) > 1 else ""
            found.append(f"{place}{fault}")
    return " ".join(found)


def _chosen(shell: OrganizationShell, kind: ApplicationType, client: Client | None) -> frozenset[str]:
    before = parse(client.scope if client else DEFAULTS[kind.name].scope)
    typed = shell.values(CHOSEN, tuple(before))
    return frozenset({*typed, *shell.value(PATTERNS).split()})
