"""`gatepost db`: the schema made, and its state told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.infra.migrations import newest_revision

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


def test_database_is_made_and_then_up_to_date(empty_cli: Cli) -> None:
    newest = newest_revision()
    assert empty_cli.ok("db", "current") == f"empty ({newest} is needed; run: gatepost db upgrade)\n"
    assert empty_cli.ok("db", "upgrade") == f"Upgraded the database to {newest}.\n"
    assert (empty_cli.folder / "var" / "gatepost.sqlite").is_file()
    assert empty_cli.ok("db", "current") == f"{newest} (up to date)\n"
    assert empty_cli.ok("db", "upgrade") == f"The database is at {newest} already.\n"


def test_schema_needs_no_keyring(empty_cli: Cli) -> None:
    empty_cli.ok("db", "upgrade")
    assert not (empty_cli.folder / "keys").exists()
