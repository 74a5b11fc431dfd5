"""Fixtures of the command line's tests: `gatepost …` in this process, in a folder and an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from server.cli.main import main
from server.config import load_settings
from server.domain.audit_records import AuditRecord
from server.infra.database import open_session
from tests.support.application import Gatepost
from tests.support.deployment import prepared_folder

__all__ = ["cli", "empty_cli", "prepared_folder"]


@dataclass
class Cli:
    """The command line in one folder."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, stdin: str | bytes | None = None) -> Result:
        """Runs a command; whatever comes of it."""
        environment = {name: None for name in os.environ if name.startswith("GATEPOST_")}
        return CliRunner().invoke(main, list(arguments), input=stdin, env={**environment, **self.variables})

    def ok(self, *arguments: str, stdin: str | None = None) -> str:
        """What a command prints that succeeds."""
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == 0, (result.output, result.exception)
        assert result.stderr == ""
        return result.stdout

    def json(self, *arguments: str, stdin: str | None = None) -> Any:
        """The JSON that a command prints with `--json`."""
        return json.loads(self.ok(*arguments, "--json", stdin=stdin))

    def fault(self, *arguments: str, stdin: str | bytes | None = None) -> str:
        """The one sentence of a command that fails: on standard error, with exit code 1, without a traceback."""
        result = self.run(*arguments, stdin=stdin)
        assert isinstance(result.exception, SystemExit), repr(result.exception)
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        head, _, sentence = result.stderr.partition(" ")
        assert head == "Error:", result.stderr
        assert sentence.endswith("\n")
        assert sentence.count("\n") == 1, sentence
        return sentence.strip()

    @contextmanager
    def gatepost(self, **settings: Any) -> Iterator[Gatepost]:
        """The deployment of the folder, to look into or to prepare past the command line."""
        gatepost = Gatepost(self.folder, **settings)
        try:
            yield gatepost
        finally:
            gatepost.close()

    def audit_rows(self, event: str) -> list[AuditRecord]:
        """The audit rows of one event, oldest first."""
        with open_session(load_settings(_env_file=None, database_url=self.variables["GATEPOST_DATABASE_URL"])) as db:
            query = select(AuditRecord).where(AuditRecord.event == event).order_by(AuditRecord.id)
            return list(db.scalars(query))


@pytest.fixture
def empty_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """In a folder where nothing was ever made."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Cli(folder, {"GATEPOST_ARGON2_TIME_COST": "1", "GATEPOST_ARGON2_MEMORY_KIB": "8192"})


@pytest.fixture
def cli(empty_cli: Cli, prepared_folder: Path) -> Iterator[Cli]:
    """In a folder with a keyring, a migrated database, signing keys and Ada."""
    shutil.copytree(prepared_folder, empty_cli.folder, dirs_exist_ok=True)
    empty_cli.variables |= {"GATEPOST_DATABASE_URL": f"sqlite:///{empty_cli.folder / 'gatepost.sqlite'}"}
    return empty_cli
