"""`gatepost config check`: what is in force, secrets masked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from server.config import Settings

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


def test_every_setting_is_shown_with_its_variable_and_value(empty_cli: Cli) -> None:
    empty_cli.variables |= {
        "GATEPOST_ISSUER": "https://login.example.com",
        "GATEPOST_TRUSTED_PROXIES": "10.0.0.0/8,::1",
    }
    text = empty_cli.ok("config", "check")
    names = [line.split()[0] for line in text.splitlines()]
    assert names == [f"GATEPOST_{name.upper()}" for name in Settings.model_fields]
    assert re.search(r"^GATEPOST_ISSUER +https://login\.example\.com$", text, re.MULTILINE)
    assert re.search(r"^GATEPOST_TRUSTED_PROXIES +.*10\.0\.0\.0/8.*::1", text, re.MULTILINE)
    assert re.search(r"^GATEPOST_REFRESH_REPLAY_WINDOW +30$", text, re.MULTILINE)


def test_secrets_are_masked(empty_cli: Cli) -> None:
    empty_cli.variables["GATEPOST_DATABASE_URL"] = "postgresql://gate:hunter2@db.example/gate"
    text = empty_cli.ok("config", "check")
    assert "hunter2" not in text
    assert re.search(r"^GATEPOST_DATABASE_URL +\*+$", text, re.MULTILINE)


def test_secrets_are_masked_when_they_come_from_a_file(empty_cli: Cli) -> None:
    (empty_cli.folder / "url").write_text("postgresql://gate:hunter2@db.example/gate")
    empty_cli.variables["GATEPOST_DATABASE_URL_FILE"] = "url"
    assert "hunter2" not in empty_cli.ok("config", "check")


def test_every_fault_is_told_when_settings_are_wrong(empty_cli: Cli) -> None:
    empty_cli.variables |= {
        "GATEPOST_ISSUER": "https://login.example.com/",
        "GATEPOST_DATABASE_URL": "mysql://root:hunter2@db/x",
    }
    result = empty_cli.run("config", "check")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "GATEPOST_ISSUER: must not end in a slash" in result.stderr
    assert "GATEPOST_DATABASE_URL: must be sqlite:///path or postgresql://" in result.stderr
    assert "hunter2" not in result.stderr
    assert "Traceback" not in result.stderr


def test_dotenv_of_the_folder_is_read(empty_cli: Cli) -> None:
    (empty_cli.folder / ".env").write_text("GATEPOST_ISSUER_NAME='Example Login'\n")
    assert re.search(r"^GATEPOST_ISSUER_NAME +Example Login$", empty_cli.ok("config", "check"), re.MULTILINE)
