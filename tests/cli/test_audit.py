"""`gatepost audit`: the newest events first, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

FIELDS = {"at", "event", "actor", "user", "client", "ip", "details"}


def test_events_are_told_newest_first(cli: Cli) -> None:
    cli.ok("clients", "create", "A machine", "--type", "machine", "--client-id", "robot")
    cli.ok("clients", "rotate-secret", "robot", "--overlap", "5")
    newest, before, *_ = cli.json("audit", "tail")
    assert set(newest) == FIELDS
    assert (newest["event"], newest["client"], newest["actor"]) == ("client.secret.rotated", "robot", "operator")
    assert newest["details"] == {"overlap_seconds": 5}
    assert before["event"] == "client.created"
    text = cli.ok("audit", "tail")
    assert "overlap_seconds=5" in text.splitlines()[1]


@pytest.mark.parametrize(("lines", "count"), [("1", 1), ("2", 2)])
def test_as_many_lines_are_told_as_asked_for(cli: Cli, lines: str, count: int) -> None:
    assert len(cli.json("audit", "tail", "--lines", lines)) == count
    assert len(cli.ok("audit", "tail", "--lines", lines).splitlines()) == count + 1


def test_events_of_one_kind_are_told(cli: Cli) -> None:
    assert {row["event"] for row in cli.json("audit", "tail", "--event", "signing_key.created")} == {
        "signing_key.created"
    }
    assert cli.json("audit", "tail", "--event", "login.failed") == []
    assert cli.ok("audit", "tail", "--event", "login.failed") == "Nothing has happened yet.\n"


@pytest.mark.parametrize("options", [("--event", "nothing.ours"), ("--lines", "0"), ("--lines", "10001")])
def test_option_is_a_usage_error_when_its_value_is_none_of_ours(cli: Cli, options: tuple[str, str]) -> None:
    assert cli.run("audit", "tail", *options).exit_code == 2
