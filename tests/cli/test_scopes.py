"""`gatepost scopes`: the catalogue as the deployment has it, and what holding some allows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from server.domain.policy.role_permissions import MANAGEMENT_NAMES
from server.domain.scopes import PERSONAL

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

SCOPES = {
    "notes:read": "Read your notes",
    "notes:delete": {"sentence": "Delete your notes", "sensitive": True},
    "admin": {"sentence": "Administer everything", "implies": ["*"]},
}


@pytest.fixture
def deployment(empty_cli: Cli) -> Cli:
    empty_cli.variables["GATEPOST_SCOPES"] = json.dumps(SCOPES)
    return empty_cli


def test_scopes_are_listed_with_what_they_are(deployment: Cli) -> None:
    rows = {row["scope"]: row for row in deployment.json("scopes", "list")}
    assert rows.keys() == {*SCOPES, *MANAGEMENT_NAMES, *PERSONAL}
    assert list(rows)[:3] == list(SCOPES)
    assert rows["admin"] == {
        "scope": "admin",
        "kind": "own",
        "sensitive": True,
        "implies": ["*"],
        "sentence": "Administer everything",
    }
    assert not rows["notes:read"]["sensitive"]
    assert {rows[name]["kind"] for name in MANAGEMENT_NAMES} == {"management"}
    assert {rows[name]["kind"] for name in PERSONAL} == {"standard"}
    assert "Read your notes" in deployment.ok("scopes", "list")


def test_note_is_made_when_a_scope_implies_one_that_is_not_there(deployment: Cli) -> None:
    typo = {"sentence": "Change your notes", "implies": ["notes:raed", "notes:*", "users:read"]}
    deployment.variables["GATEPOST_SCOPES"] = json.dumps({**SCOPES, "notes:write": typo})
    result = deployment.run("scopes", "list", "--json")
    assert result.exit_code == 0
    assert result.stderr == "Note: notes:write implies notes:raed, which is no scope of this deployment.\n"


@pytest.mark.parametrize(
    ("held", "needed"),
    [
        ("notes:*", ("notes:read",)),
        ("notes:*", ("notes:read", "notes:delete")),
        ("admin users:read", ("notes:*", "users:read")),
        ("*", ("organizations:delete",)),
    ],
)
def test_command_succeeds_when_all_is_allowed(deployment: Cli, held: str, needed: tuple[str, ...]) -> None:
    assert deployment.ok("scopes", "check", held, *needed) == "Allowed.\n"


@pytest.mark.parametrize(
    ("held", "needed", "missing"),
    [
        ("notes:read", ("notes:read", "notes:delete"), "notes:delete"),
        ("admin", ("users:read", "notes:read", "audit:read"), "audit:read users:read"),
        ("", ("notes:read",), "notes:read"),
    ],
)
def test_command_fails_naming_what_is_not_allowed(
    deployment: Cli, held: str, needed: tuple[str, ...], missing: str
) -> None:
    assert deployment.fault("scopes", "check", held, *needed) == f"Not allowed: {missing}."


def test_note_is_made_when_what_is_needed_is_no_scope_here(deployment: Cli) -> None:
    result = deployment.run("scopes", "check", "*", "notes:raed")
    assert (result.exit_code, result.stdout) == (0, "Allowed.\n")
    assert result.stderr == "Note: notes:raed is no scope of this deployment.\n"
