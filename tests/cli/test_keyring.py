"""`gatepost keyring`: made once, told where, never overwritten."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


def test_keyring_is_made_for_its_owner_and_its_backup_urged(empty_cli: Cli) -> None:
    text = empty_cli.ok("keyring", "create")
    path = empty_cli.folder / "keys" / "keyring.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert text.startswith("Made keys/keyring.json. Back it up")


def test_keyring_is_made_where_the_settings_say(empty_cli: Cli) -> None:
    empty_cli.variables["GATEPOST_KEYS_DIR"] = str(empty_cli.folder / "elsewhere" / "deep")
    empty_cli.ok("keyring", "create")
    assert (empty_cli.folder / "elsewhere" / "deep" / "keyring.json").is_file()


def test_keyring_is_not_overwritten(empty_cli: Cli) -> None:
    empty_cli.ok("keyring", "create")
    before = (empty_cli.folder / "keys" / "keyring.json").read_bytes()
    assert "it is not overwritten" in empty_cli.fault("keyring", "create")
    assert (empty_cli.folder / "keys" / "keyring.json").read_bytes() == before


@pytest.mark.parametrize("keys_dir", ["file", "file/below", "/proc/keys"])
def test_keyring_is_refused_when_its_folder_cannot_be_made(empty_cli: Cli, keys_dir: str) -> None:
    (empty_cli.folder / "file").write_text("")
    empty_cli.variables["GATEPOST_KEYS_DIR"] = keys_dir
    assert keys_dir in empty_cli.fault("keyring", "create")
