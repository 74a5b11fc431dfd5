"""Pages: templates with what they all share, and people and applications as a page shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Flask, make_response, render_template
from flask.wrappers import Response
from jinja2 import StrictUndefined

from server.config import Settings
from server.domain import redirect_uris
from server.domain.client_logos import logo_version
from server.domain.clients import Client
from server.domain.users import User
from server.protocol.authorization.prompt import assures_identity
from server.web.context import current_gatepost, current_work


@dataclass(frozen=True)
class Person:
    """Somebody as a page shows them."""

    name: str
    email: str
    initials: str


@dataclass(frozen=True)
class Application:
    """A client as a page shows it."""

    name: str
    initials: str
    logo_url: str | None
    client_uri: str | None
    policy_uri: str | None
    tos_uri: str | None
    redirect_kind: str
    redirect_display: str
    first_party: bool
    #: Whether no other program could pose as it: it has a secret, or its redirects reach one web site.
    is_identity_assured: bool


def register(app: Flask, settings: Settings) -> None:
    """Sets up Jinja: a name that a template misspells is an error, not a blank."""
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        issuer_name=settings.issuer_name, static=static_url, lang="en", home_url=f"{settings.issuer_path}/"
    )


def static_url(path: str) -> str:
    """The path of a static file."""
    return f"{current_gatepost().runtime.settings.issuer_path}/static/{path}"


def page_url(name: str, request_id: str | None = None) -> str:
    """The path of one of our pages, carrying on the authorization request it belongs to."""
    path = f"{current_gatepost().runtime.settings.issuer_path}/{name}"
    return f"{path}?request={request_id}" if request_id else path


def render(template: str, status: int = 200, **context: Any) -> Response:
    """A page, never kept by caches."""
    response = make_response(render_template(template, **context), status)
    response.headers["Vary"] = "Cookie"
    return response


def redirect_to(path: str) -> Response:
    """303, so that a POST is followed by a GET (RFC 9700 §4.12); no page that would repeat where it goes."""
    response = Response(status=303)
    response.headers["Location"] = path
    del response.headers["Content-Type"]
    return response


def initials(name: str) -> str:
    """One or two letters that stand for a name."""
    words = [word for word in name.replace("@", " ").split() if word[0].isalnum()]
    letters = words[0][0] + (words[-1][0] if len(words) > 1 else "") if words else name[:1]
    return letters.upper()


def person(user: User) -> Person:
    """A user for a page."""
    return Person(user.display_name, user.email, initials(user.display_name))


def application(client: Client, redirect_uri: str, response_type: str = "code") -> Application:
    """A client for a page, with where it would send the person, and what along with them."""
    kind, display = redirect_uris.describe_target(redirect_uri)
    return Application(
        name=client.client_name,
        initials=initials(client.client_name),
        logo_url=logo_url(client),
        client_uri=client.client_uri,
        policy_uri=client.policy_uri,
        tos_uri=client.tos_uri,
        redirect_kind=kind,
        redirect_display=display,
        first_party=client.is_first_party,
        is_identity_assured=assures_identity(client, redirect_uri, response_type),
    )


def logo_url(client: Client) -> str | None:
    """Where we hand the client's logo on, if it has one; an uploaded logo's address changes with it."""
    path = page_url(f"client-logo/{client.id}")
    version = logo_version(current_work(), client.id)
    if version is not None:
        return f"{path}?v={version}"
    return path if client.logo_uri else None


def client_alone(client: Client | None) -> Application | None:
    """A client for a page that belongs to no request of its; None when there is none, or none that people visit."""
    return application(client, client.redirect_uris[0]) if client is not None and client.redirect_uris else None


def duration(seconds: int) -> str:
    """A span of time as a person says it, in its largest unit."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = round(seconds / length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} second{'s' if seconds > 1 else ''}"
