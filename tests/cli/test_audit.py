"""`gatepost audit`: the newest events first, for people and for programs."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from server.domain.client_registration import ClientMetadata, create_client
from server.domain.organizations import create_organization
from server.domain.policy.environments import ENVIRONMENTS

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


def organizations(cli: Cli) -> tuple[str, str]:
    """Two organizations, each with a client in each environment."""
    with cli.gatepost() as gatepost, gatepost.work() as work:
        made = [create_organization(work, name) for name in ("Ours", "Theirs")]
        for organization in made:
            for environment in ENVIRONMENTS:
                metadata = ClientMetadata(
                    f"{organization.slug} {environment}",
                    "machine",
                    client_id=f"{organization.slug}-{environment}",
                    organization_id=organization.id,
                    environment=environment,
                )
                create_client(work, metadata)
    return made[0].id, made[1].id


@pytest.mark.spec("K-10")
def test_one_organization_alone_is_told_and_exported_when_it_is_named(cli: Cli) -> None:
    ours, theirs = organizations(cli)
    assert {row["client"] for row in cli.json("audit", "tail", "--organization", "ours")} == {
        "ours-live", "ours-test", None,
    }  # fmt: skip
    assert {row["client"] for row in cli.json("audit", "tail", "--organization", theirs, "--event", "client.*")} == {
        "theirs-live", "theirs-test",
    }  # fmt: skip
    live = cli.json("audit", "tail", "--organization", "ours", "--environment", "live")
    assert {row["client"] for row in live} == {"ours-live", None}
    rows = exported(cli, "--organization", ours)
    assert {row["details"]["organization_id"] for row in rows} == {ours}
    assert [row["client_id"] for row in rows if row["client_id"]] == ["ours-live", "ours-test"]
    assert (rows[-1]["event"], rows[-1]["details"]["organization_id"]) == ("audit_log.exported", ours)
    assert [row["client_id"] for row in exported(cli, "--organization", "ours", "--environment", "test")][1:2] == [
        "ours-test"
    ]
    table = list(csv.DictReader(io.StringIO(cli.ok("audit", "export", "--organization", "ours", "--format", "csv"))))
    assert {json.loads(row["details"])["organization_id"] for row in table} == {ours}


def test_organization_is_named_in_a_sentence_when_there_is_none(cli: Cli) -> None:
    for command in ("tail", "export"):
        assert cli.fault("audit", command, "--organization", "nobody") == "There is no organization nobody."


def test_column_that_was_altered_moves_no_row_to_another_organization(cli: Cli, database: Path) -> None:
    ours, theirs = organizations(cli)
    alter(database, f"UPDATE audit_events SET organization_id = '{ours}'")
    assert {row["details"]["organization_id"] for row in exported(cli, "--organization", ours)} == {ours}
    assert {row["details"]["organization_id"] for row in exported(cli, "--organization", theirs)} == {theirs}


@pytest.mark.parametrize(
    ("options", "clients"),
    [
        (("--what", "robot"), {"robot"}),
        (("--who", "operator", "--event", "client.*"), {"robot", "other"}),
        (("--who", "usr_nobody"), set()),
        (("--where", "192.0.2.0/24"), set()),
        (("--event", "client.created", "--lines", "1"), {"other"}),
    ],
)
def test_events_are_told_by_who_what_and_where(cli: Cli, options: tuple[str, ...], clients: set[str]) -> None:
    for name in ("robot", "other"):
        cli.ok("clients", "create", "A machine", "--type", "machine", "--client-id", name)
    assert {row["client"] for row in cli.json("audit", "tail", *options)} == clients


def test_network_that_is_none_is_a_sentence(cli: Cli) -> None:
    assert "192.0.2.0/24" in cli.fault("audit", "tail", "--where", "the office")


def test_what_happens_is_told_as_it_happens_when_it_is_followed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    polls = iter(["first", None, "second", "third"])

    def meanwhile(_seconds: float) -> None:
        try:
            name = next(polls)
        except StopIteration:
            raise KeyboardInterrupt from None
        if name is not None:
            with cli.gatepost() as gatepost:
                # A row of a transaction that took long is seen after younger ones.
                late = 4 if name == "third" else 0
                gatepost.clock.advance((datetime.now(UTC) - gatepost.clock.now()).total_seconds() - late)
                with gatepost.work() as work:
                    create_client(work, ClientMetadata("A machine", "machine", client_id=name))

    monkeypatch.setattr("server.cli.audit.time.sleep", meanwhile)
    lines = cli.ok("audit", "tail", "--follow", "--event", "client.created", "--json").splitlines()
    assert [json.loads(line)["client"] for line in lines] == ["first", "second", "third"]


def test_newest_rows_come_first_and_then_the_others_when_it_is_followed(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        cli.ok("clients", "create", "A machine", "--type", "machine", "--client-id", name)

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("server.cli.audit.time.sleep", interrupt)
    text = cli.ok("audit", "tail", "-f", "--event", "client.created", "--lines", "2")
    assert [line.split("  ")[3] for line in text.splitlines()] == ["two", "three"]


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
