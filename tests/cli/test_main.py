"""The list of all commands: each explains itself, and each fault is one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click
import pytest

from server import __version__
from server.cli.main import main

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


def every_command(command: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            yield from every_command(child, (*path, name))


COMMANDS = list(every_command())


def find(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


def test_commands_are_those_that_operators_know() -> None:
    assert sorted(main.commands) == [
        *("api-keys", "audit", "clients", "config", "db", "dev", "keyring", "keys", "organizations", "registration"),
        *("scopes", "serve", "sweep", "users"),
    ]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_teaches_what_the_command_is_for(empty_cli: Cli, path: tuple[str, ...], flag: str) -> None:
    text = empty_cli.ok(*path, flag)
    command = find(path)
    assert command.help is not None
    first = command.help.strip().splitlines()[0]
    assert len(first.split()) >= 2
    assert first[0].isupper()
    assert first.split()[0] in text
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(path)} {parameter.opts[0]} has no help"
            assert parameter.opts[0] in text


def test_version_is_told(empty_cli: Cli) -> None:
    assert empty_cli.ok("--version") == f"gatepost, version {__version__}\n"


def test_module_runs_the_same_command() -> None:
    from server import __main__

    assert __main__.main is main


def test_unknown_command_is_a_usage_error(empty_cli: Cli) -> None:
    result = empty_cli.run("conquer")
    assert result.exit_code == 2
    assert "No such command" in result.stderr


WORKING: list[list[str]] = [
    ["clients", "list"],
    ["clients", "show", "x"],
    ["clients", "create", "My app", "--type", "machine"],
    ["clients", "rotate-secret", "x"],
    ["clients", "revoke-registration", "x"],
    ["clients", "disable", "x"],
    ["clients", "enable", "x"],
    ["clients", "delete", "x", "--yes"],
    ["users", "list"],
    ["users", "show", "x@example.com"],
    ["users", "create", "grace@example.com"],
    ["users", "set-password", "x@example.com"],
    ["users", "disable", "x@example.com"],
    ["users", "enable", "x@example.com"],
    ["users", "delete", "x@example.com", "--yes"],
    ["keys", "list"],
    ["keys", "rotate"],
    ["keys", "retire", "x", "--yes"],
    ["audit", "tail"],
    ["sweep"],
]
SCHEMA: list[list[str]] = [["db", "upgrade"], ["db", "current"]]


def no_keyring(cli: Cli) -> None:
    (cli.folder / "keys" / "keyring.json").unlink()


def readable_keyring(cli: Cli) -> None:
    (cli.folder / "keys" / "keyring.json").chmod(0o644)


def broken_keyring(cli: Cli) -> None:
    (cli.folder / "keys" / "keyring.json").write_text("{")


def database_never_made(cli: Cli) -> None:
    cli.variables["GATEPOST_DATABASE_URL"] = "sqlite:///fresh.sqlite"


def database_away(cli: Cli) -> None:
    (cli.folder / "folder").mkdir()
    cli.variables["GATEPOST_DATABASE_URL"] = "sqlite:///folder"


def database_not_one(cli: Cli) -> None:
    (cli.folder / "gatepost.sqlite").write_text("this is no database, though it is a file of some length" * 100)
    for name in ("gatepost.sqlite-wal", "gatepost.sqlite-shm"):
        (cli.folder / name).unlink(missing_ok=True)


def database_folder_is_a_file(cli: Cli) -> None:
    (cli.folder / "file").write_text("")
    cli.variables["GATEPOST_DATABASE_URL"] = "sqlite:///file/gatepost.sqlite"


def database_url_nonsense(cli: Cli) -> None:
    cli.variables["GATEPOST_DATABASE_URL"] = "postgresql://host:port/name"


def wrong_issuer(cli: Cli) -> None:
    cli.variables["GATEPOST_ISSUER"] = "http://login.example.com"


def unreadable_file_twin(cli: Cli) -> None:
    del cli.variables["GATEPOST_DATABASE_URL"]
    cli.variables["GATEPOST_DATABASE_URL_FILE"] = "/nowhere/at/all"


def name_of(value: object) -> str:
    return getattr(value, "__name__", "-")


KEYRING_FAULTS: list[tuple[Callable[[Cli], None], str]] = [
    (no_keyring, "Make one with: gatepost keyring create"),
    (readable_keyring, "Run: chmod 600"),
    (broken_keyring, "Restore it from your backup"),
    (database_never_made, "gatepost db upgrade"),
]
FAULTS: list[tuple[Callable[[Cli], None], str]] = [
    (database_away, "Check GATEPOST_DATABASE_URL"),
    (database_not_one, "GATEPOST_DATABASE_URL"),
    (database_folder_is_a_file, "GATEPOST_DATABASE_URL: the folder file cannot be made"),
    (database_url_nonsense, "GATEPOST_DATABASE_URL"),
    (wrong_issuer, "GATEPOST_ISSUER: must be https"),
    (unreadable_file_twin, "GATEPOST_DATABASE_URL_FILE names /nowhere/at/all"),
]


@pytest.mark.parametrize(
    ("spoil", "sentence"), KEYRING_FAULTS + FAULTS, ids=lambda value: getattr(value, "__name__", "")
)
@pytest.mark.parametrize("command", WORKING, ids=" ".join)
def test_fault_is_one_sentence_that_mends_it(
    cli: Cli, command: list[str], spoil: Callable[[Cli], None], sentence: str
) -> None:
    spoil(cli)
    assert sentence in cli.fault(*command)


@pytest.mark.parametrize(("spoil", "sentence"), FAULTS, ids=name_of)
@pytest.mark.parametrize("command", SCHEMA, ids=" ".join)
def test_fault_of_the_schema_commands_is_one_sentence_that_mends_it(
    cli: Cli, command: list[str], spoil: Callable[[Cli], None], sentence: str
) -> None:
    spoil(cli)
    assert sentence in cli.fault(*command)


@pytest.mark.parametrize("command", [["users", "list"], ["db", "upgrade"], ["db", "current"]], ids=" ".join)
def test_missing_extra_is_told_when_the_database_is_postgresql(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    # As on a machine where `pip install gatepost` was all that was done.
    monkeypatch.setitem(sys.modules, "psycopg", None)
    cli.variables["GATEPOST_DATABASE_URL"] = "postgresql://127.0.0.1:1/gate"
    assert "gatepost[postgres]" in cli.fault(*command)


@pytest.mark.postgres
@pytest.mark.parametrize("command", [["users", "list"], ["clients", "create", "x", "--type", "machine"]], ids=" ".join)
def test_unmigrated_postgresql_is_told_how_to_be_made(cli: Cli, postgres_url: str, command: list[str]) -> None:
    cli.variables["GATEPOST_DATABASE_URL"] = postgres_url
    assert "gatepost db upgrade" in cli.fault(*command)


@pytest.mark.postgres
@pytest.mark.parametrize("command", [["users", "list"], ["db", "upgrade"], ["db", "current"]], ids=" ".join)
def test_postgresql_that_does_not_answer_is_told(cli: Cli, command: list[str]) -> None:
    cli.variables["GATEPOST_DATABASE_URL"] = "postgresql://127.0.0.1:1/gate"
    assert "Check GATEPOST_DATABASE_URL" in cli.fault(*command)
