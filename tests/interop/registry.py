"""Clients and people for a live server, made the way an operator makes them: on the command line."""

import secrets
from dataclasses import dataclass

from tests.interop.person import Person
from tests.support.servers import Server

WEB_CALLBACK = "https://app.example/callback"
SCOPE = "openid profile email offline_access"


@dataclass(frozen=True)
class Account:
    """Somebody who can sign in."""

    subject: str
    email: str
    password: str

    def at_a_browser(self) -> Person:
        """The person with an empty browser."""
        return Person(self.email, self.password)


@dataclass(frozen=True)
class RegisteredClient:
    """A client as its developer knows it; client_secret is empty for a public one."""

    client_id: str
    client_secret: str
    redirect_uri: str


def create_account(server: Server, name: str = "Ada Lovelace") -> Account:
    """A new person with every standard claim filled."""
    email = f"{secrets.token_hex(4)}@example.com"
    password = secrets.token_urlsafe(18)
    arguments = ("users", "create", email, "--name", name, "--password-stdin", "--demo-claims")
    created = server.run_json(*arguments, stdin=password)
    return Account(created["id"], email, password)


def create_client(
    server: Server, kind: str = "web", *options: str, redirect_uri: str = WEB_CALLBACK, scope: str = SCOPE
) -> RegisteredClient:
    """A new client of the given type, with further options of `gatepost clients create`."""
    name = f"Notebook {secrets.token_hex(3)}"
    created = server.run_json(
        "clients", "create", name, "--type", kind, "--redirect-uri", redirect_uri, "--scope", scope, *options
    )
    return RegisteredClient(created["client_id"], created.get("client_secret", ""), redirect_uri)
