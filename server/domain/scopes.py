"""Scopes: the wire string, the catalogue, and the sentence a person reads (RFC 6749 §3.3, OpenID Connect Core §5.4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from server.config import Settings
from server.domain.policy.scope_grammar import is_scope_token


@dataclass(frozen=True)
class Scope:
    """One entry of the catalogue."""

    name: str
    sentence: str
    detail: str | None = None
    icon: str = "dot"
    sensitive: bool = False


OPENID: Final = "openid"
OFFLINE_ACCESS: Final = "offline_access"

_STANDARD: Final = (
    Scope(OPENID, "Sign you in", icon="key"),
    Scope("profile", "See your name and profile", "Name, picture, birthday, language and the like", "person"),
    Scope("email", "See your email address", icon="mail"),
    Scope("address", "See your postal address", icon="map-pin", sensitive=True),
    Scope("phone", "See your phone number", icon="phone", sensitive=True),
    Scope(OFFLINE_ACCESS, "Keep this access while you are away", "Also when you are signed out", "clock"),
)
#: Scopes that speak about a person and mean nothing without one.
PERSONAL: Final = frozenset(scope.name for scope in _STANDARD)


def parse(scope: str | None) -> frozenset[str]:
    """The wire string as a set; absent is empty."""
    return frozenset(scope.split(" ")) - {""} if scope else frozenset()


def is_well_formed(scope: str) -> bool:
    """Whether every token of the wire string is one of RFC 6749's characters."""
    return all(is_scope_token(token) for token in scope.split(" ") if token)


def format_scopes(scopes: Iterable[str]) -> str:
    """The set as a wire string, in an order that never changes."""
    return " ".join(sorted(scopes, key=lambda name: (name != OPENID, name)))


def catalogue(settings: Settings) -> dict[str, Scope]:
    """Every scope this deployment knows, by name."""
    known = {scope.name: scope for scope in _STANDARD}
    # What is standard keeps its meaning, whatever the configuration says.
    return {name: Scope(name, each.sentence, icon="key") for name, each in settings.scopes.items()} | known
