"""docs/scopes.md: its tables say what the code says, and its examples are so."""

from __future__ import annotations

import json
import re

import pytest

from server.config import Settings
from server.domain import scopes
from server.domain.policy.role_permissions import MANAGEMENT, MANAGEMENT_NAMES, ROLES
from server.domain.policy.scope_grammar import covers
from tests.support.components import REPOSITORY

PAGE = (REPOSITORY / "docs" / "scopes.md").read_text("utf-8")
API = {"all": "all", "none": "none", "those that are not sensitive": "ordinary"}


def rows_below(head: str) -> list[list[str]]:
    """The cells of the table with this first column."""
    table = re.search(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert table, head
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_table_has_every_management_permission_with_its_sentence() -> None:
    shown = [(names_in(name)[0], sentence, mark == "yes") for name, sentence, mark in rows_below("Permission")]
    assert shown == [(each.name, each.sentence, each.sensitive) for each in MANAGEMENT]


def test_table_has_every_role_with_its_permissions() -> None:
    shown = {}
    for name, permissions, api in rows_below("Role"):
        listed = names_in(permissions)
        if permissions.startswith("every one but"):
            listed = [each for each in MANAGEMENT_NAMES if each not in listed]
        shown[names_in(name)[0]] = (tuple(listed), API[api])
    assert shown == {name: (role.permissions, role.api) for name, role in ROLES.items()}


@pytest.mark.parametrize("row", rows_below("This"), ids=lambda row: row[0])
def test_wildcard_covers_what_the_page_says(row: list[str]) -> None:
    (pattern,), covered, apart = (names_in(cell) for cell in row)
    assert [name for name in covered if not covers(pattern, name)] == []
    assert [name for name in apart if covers(pattern, name)] == []


def test_catalogue_of_the_page_is_one() -> None:
    written = re.search(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert written
    settings = Settings(_env_file=None, environment="development", scopes=json.loads(written[1]))  # type: ignore[call-arg]
    assert scopes.is_known(settings, "files:pictures:read")
    assert scopes.rights(settings, ["admin"]).allows_all(["notes:*", "files:*:*"])
    assert not scopes.rights(settings, ["notes:read", "notes:write"]).allows("notes:*")
    assert scopes.rights(settings, ["users:*"]).within(scopes.rights(settings, ["*:read"])).granted == {"users:read"}
