"""The peers by name: how each is started, and what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from bench.peers import canaille_server, django_toolkit, keycloak, oidc_provider
from bench.subject import HttpSubject

#: Given a name, a database's address or None, worker processes, PostgreSQL's process and a log: the running peer.
Running = Callable[[str, str | None, int, int | None, Path], AbstractContextManager[HttpSubject]]

PEERS: dict[str, tuple[Running, tuple[str, ...]]] = {
    "oidc-provider": (oidc_provider.running, ("memory", "PostgreSQL")),
    "django-oauth-toolkit": (django_toolkit.running, ("SQLite", "PostgreSQL")),
    "canaille": (canaille_server.running, ("PostgreSQL",)),
    "keycloak": (keycloak.running, ("PostgreSQL",)),
}
"""How each is started, and on which stores it is measured."""

OUT_OF_REACH = {
    "Ory Hydra": (
        "`go install github.com/ory/hydra/v2@VERSION` cannot build it: its go.mod replaces modules by folders of its "
        "own repository, which that command refuses. The Go module proxy answered 403 (not available) for the module "
        "itself and for github.com/ory/pop, which a build from a clone needs. No other registry carries it."
    )
}
"""Peers that were tried and cannot be installed, with the reason."""
