"""Permissions as forms offer them and pages show them: grouped, each with its sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from server.domain.policy.role_permissions import MANAGEMENT
from server.domain.policy.scope_grammar import is_pattern
from server.domain.scopes import PERSONAL, Rights, Scope, catalogue
from server.web.context import current_work
from server.web.dashboard.shell import OrganizationShell

#: The fields of a form: boxes to tick, and lines for what has no box.
CHOSEN: Final = "permissions"
PATTERNS: Final = "patterns"

_MANAGEMENT: Final = frozenset(permission.name for permission in MANAGEMENT)
_EVERYTHING: Final = "Everything that whoever made it may do"
_PATTERN: Final = "Everything that this pattern covers"


@dataclass(frozen=True)
class PermissionLine:
    """One permission on a page."""

    name: str
    sentence: str
    is_sensitive: bool = False
    is_chosen: bool = False


@dataclass(frozen=True)
class PermissionGroup:
    """Permissions about the same thing."""

    title: str
    lines: list[PermissionLine]


def permission_groups(bounds: Rights, chosen: Collection[str]) -> list[PermissionGroup]:
    """What somebody with these rights may give: the deployment's own permissions first, then the management's."""
    groups: dict[str, list[PermissionLine]] = {}
    for scope in _offered(bounds):
        title = "Managing the organization" if scope.name in _MANAGEMENT else "API"
        groups.setdefault(title, []).append(
            PermissionLine(scope.name, scope.sentence, scope.sensitive, scope.name in chosen)
        )
    return [PermissionGroup(title, lines) for title, lines in groups.items()]


def patterns_among(chosen: Iterable[str], bounds: Rights) -> str:
    """Those of the chosen that have no box, a line each."""
    boxes = {scope.name for scope in _offered(bounds)}
    return "\n".join(sorted(set(chosen) - boxes))


def chosen_permissions(shell: OrganizationShell) -> list[str]:
    """What the form asks for."""
    return sorted({*shell.values(CHOSEN), *lines_of(shell.value(PATTERNS))})


def lines_of(text: str) -> list[str]:
    """The lines of a text, also when they were separated by commas or spaces."""
    return text.replace(",", " ").split()


def described(permissions: Iterable[str]) -> list[PermissionLine]:
    """Permissions with their sentences, sensitive ones first."""
    known = catalogue(current_work().settings)
    lines = [_line(name, known.get(name)) for name in sorted(permissions)]
    return sorted(lines, key=lambda line: not line.is_sensitive)


def _line(name: str, scope: Scope | None) -> PermissionLine:
    if scope is not None:
        return PermissionLine(name, scope.sentence, scope.sensitive)
    if name == "*":
        return PermissionLine(name, _EVERYTHING, is_sensitive=True)
    return PermissionLine(name, _PATTERN if is_pattern(name) else "Known to your API")


def _offered(bounds: Rights) -> list[Scope]:
    known = catalogue(current_work().settings).values()
    return [scope for scope in known if scope.name not in PERSONAL and bounds.allows(scope.name)]
