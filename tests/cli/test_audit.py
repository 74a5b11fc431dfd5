"""`gatepost audit`: the newest events first, for people and for programs."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


@pytest.fixture
def database(cli: Cli) -> Path:
    """The file of the database, for somebody who has it."""
    return next(cli.folder.rglob("*.sqlite"))


FIELDS = {"at", "event", "actor", "user", "client", "ip", "details"}


def test_events_are_told_newest_first(cli: Cli) -> None:
    cli.ok("clients", "create", "A machine", "--type", "machine", "--client-id", "robot")
    cli.ok("clients", "rotate-secret", "robot", "--overlap", "5")
    newest, *before = cli.json("audit", "tail")
    assert set(newest) == FIELDS
    assert (newest["event"], newest["client"], newest["actor"]) == ("client.secret.rotated", "robot", "operator")
    assert newest["details"] == {"overlap_seconds": 5}
    assert "client.created" in {row["event"] for row in before}
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


def exported(cli: Cli, *options: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cli.ok("audit", "export", *options).splitlines()]


def test_export_is_one_object_a_line_in_the_order_of_the_chain_and_a_checkpoint(cli: Cli) -> None:
    *rows, last = exported(cli)
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    assert last == {"checkpoint": {"sequence": len(rows), "digest": rows[-1]["digest"]}}
    assert set(rows[0]) == {
        *("sequence", "digest", "id", "at", "event", "actor_kind", "actor_id", "user_id", "client_id"),
        *("ip", "user_agent", "request_id", "details"),
    }


def test_export_of_a_span_of_time_holds_its_rows_and_the_end_of_the_chain(cli: Cli) -> None:
    *everything, _checkpoint = exported(cli)
    *none, checkpoint = exported(cli, "--until", "2000-01-01")
    assert none == []
    assert checkpoint["checkpoint"]["sequence"] == len(everything) + 1
    assert exported(cli, "--since", "2000-01-01T00:00:00Z")[: len(everything)] == everything
    assert cli.run("audit", "export", "--since", "yesterday").exit_code == 2


def test_export_is_itself_in_the_log(cli: Cli) -> None:
    *_rows, last, _checkpoint = exported(cli, "--since", "2000-01-01")
    assert (last["event"], last["actor_kind"]) == ("audit_log.exported", "operator")
    assert last["details"] == {"since": "2000-01-01T00:00:00", "until": None}


def test_export_for_spreadsheets_holds_the_same_rows(cli: Cli) -> None:
    *rows, _checkpoint = exported(cli)
    table = list(csv.DictReader(io.StringIO(cli.ok("audit", "export", "--format", "csv"))))
    assert [int(row["sequence"]) for row in table[:-1]] == [row["sequence"] for row in rows]
    assert [json.loads(row["details"]) for row in table[:-1]] == [row["details"] for row in rows]


@pytest.mark.spec("L-03")
@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A0", "+1", "-1", "@SUM(A1)"])
def test_formula_stays_text_when_exported_for_spreadsheets(cli: Cli, database: Path, text: str) -> None:
    alter(database, "UPDATE audit_events SET user_agent = ?", text)
    table = list(csv.DictReader(io.StringIO(cli.ok("audit", "export", "--format", "csv"))))
    assert {row["user_agent"] for row in table[:-1]} == {f"'{text}"}


def alter(database: Path, statement: str, *parameters: str) -> None:
    connection = sqlite3.connect(database)
    with connection:
        assert connection.execute(statement, parameters).rowcount > 0
    connection.close()


def test_log_holds_when_nobody_touched_it(cli: Cli) -> None:
    count = len(exported(cli)) - 1
    assert cli.ok("audit", "verify") == f"All {count} sealed rows hold.\n"


@pytest.mark.spec("L-03")
def test_first_broken_place_is_named_and_the_exit_code_is_1_when_a_row_was_altered(cli: Cli, database: Path) -> None:
    cli.ok("audit", "verify")
    alter(database, "UPDATE audit_events SET event = 'login.succeeded' WHERE id = 2")
    result = cli.run("audit", "verify")
    assert result.exit_code == 1
    assert "The audit log does not hold at sequence 2: its row was altered" in result.output


@pytest.mark.spec("L-03")
def test_cut_at_the_end_is_found_when_verified_against_an_export(cli: Cli, database: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "audit.jsonl"
    checkpoint.write_text(cli.ok("audit", "export"))
    assert "hold." in cli.ok("audit", "verify", "--against", str(checkpoint))
    for table, column in (("audit_events", "id"), ("audit_seals", "sequence")):
        alter(database, f"DELETE FROM {table} WHERE {column} = (SELECT max({column}) FROM {table})")
    assert "hold." in cli.ok("audit", "verify")
    result = cli.run("audit", "verify", "--against", str(checkpoint))
    assert result.exit_code == 1
    assert "the end was cut off" in result.output


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"checkpoint": 1}', "no JSON", '{"sequence": 1, "digest": "x"}'])
def test_file_without_a_checkpoint_is_refused_in_a_sentence(cli: Cli, tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text(text)
    result = cli.run("audit", "verify", "--against", str(path))
    assert result.exit_code == 1
    assert "does not end in a checkpoint" in result.output


@pytest.mark.spec("L-03")
def test_terminal_gets_no_control_character_and_no_forged_line_from_a_row(cli: Cli, database: Path) -> None:
    forged = "\x1b[2J\r\n2026-01-01  login.succeeded\u202e"
    alter(database, "UPDATE audit_events SET actor_id = ?, client_id = ?, ip = ?", forged, forged, forged)
    alter(database, "UPDATE audit_events SET details = ?", json.dumps({"note": forged}))
    text = cli.ok("audit", "tail", "--lines", "1")
    assert len(text.splitlines()) == 2
    assert all(line.isprintable() for line in text.splitlines())
    assert cli.json("audit", "tail", "--lines", "1")[0]["details"] == {"note": forged}
    alter(database, "UPDATE audit_events SET user_agent = ?", forged)
    for form in ("jsonl", "csv"):
        assert all(line.isprintable() for line in cli.ok("audit", "export", "--format", form).split("\n"))
