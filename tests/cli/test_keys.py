"""`gatepost keys`: list, rotate, retire and import, for people and for programs."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.infra.keyring import create_keyring

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

FIELDS = ["kid", "algorithm", "state", "created_at", "activated_at", "remove_after"]


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def test_list_is_a_table_for_people_and_complete_for_programs(cli: Cli) -> None:
    head, *rows = cli.ok("keys", "list").splitlines()
    assert head.split() == FIELDS
    assert len(rows) == 3
    documents = cli.json("keys", "list")
    assert [list(document) for document in documents] == [FIELDS] * 3
    assert {document["algorithm"] for document in documents} == {"RS256", "ES256", "EdDSA"}
    assert {document["state"] for document in documents} == {"active"}


def test_list_says_who_makes_keys_when_there_are_none(empty_cli: Cli) -> None:
    empty_cli.ok("keyring", "create")
    empty_cli.ok("db", "upgrade")
    assert "gatepost serve" in empty_cli.ok("keys", "list")
    assert empty_cli.json("keys", "list") == []


def test_new_key_signs_and_the_old_one_retires_when_rotated(cli: Cli) -> None:
    before = {document["algorithm"]: document["kid"] for document in cli.json("keys", "list")}
    made = cli.json("keys", "rotate", "--algorithm", "ES256")
    assert (made["algorithm"], made["state"]) == ("ES256", "active")
    keys = {document["kid"]: document for document in cli.json("keys", "list")}
    retiring = keys[before["ES256"]]
    assert retiring["state"] == "retiring"
    stays = datetime.fromisoformat(retiring["remove_after"]) - datetime.fromisoformat(made["activated_at"])
    assert timedelta(days=2) - timedelta(seconds=2) <= stays <= timedelta(days=2) + timedelta(seconds=2)
    assert keys[before["RS256"]]["state"] == "active"
    assert cli.audit_rows("signing_key.rotated")[0].details["kid"] == made["kid"]


def test_rs256_is_rotated_when_no_algorithm_is_named(cli: Cli) -> None:
    assert re.search(r"^algorithm +RS256$", cli.ok("keys", "rotate"), re.MULTILINE)


def test_next_key_is_only_published_when_prepared(cli: Cli) -> None:
    prepared = cli.json("keys", "rotate", "--algorithm", "EdDSA", "--prepare")
    assert (prepared["state"], prepared["activated_at"]) == ("next", None)
    assert cli.json("keys", "rotate", "--algorithm", "EdDSA", "--prepare")["kid"] == prepared["kid"]
    assert cli.json("keys", "rotate", "--algorithm", "EdDSA")["kid"] == prepared["kid"]


def test_key_is_retired_when_the_operator_is_sure(cli: Cli) -> None:
    kid = cli.json("keys", "rotate", "--algorithm", "ES256", "--prepare")["kid"]
    aborted = cli.run("keys", "retire", kid, stdin="n\n")
    assert aborted.exit_code == 1
    assert "verify no longer" in aborted.stdout
    assert cli.json("keys", "retire", kid, "--yes")["state"] == "removed"
    assert re.search(r"^state +removed$", cli.ok("keys", "retire", kid, stdin="y\n"), re.MULTILINE)
    assert [row.details["kid"] for row in cli.audit_rows("signing_key.retired")] == [kid]


def test_active_key_is_not_retired(cli: Cli) -> None:
    kid = cli.json("keys", "list")[0]["kid"]
    assert cli.fault("keys", "retire", kid, "--yes") == "This key is signing. Rotate first, then retire it."
    assert cli.fault("keys", "retire", "nowhere", "--yes") == "There is no signing key nowhere."


def test_imported_key_waits_for_the_rotation(cli: Cli, pem: Path) -> None:
    imported = cli.json("keys", "import", str(pem), "--algorithm", "ES256")
    assert imported["state"] == "next"
    assert cli.json("keys", "rotate", "--algorithm", "ES256")["kid"] == imported["kid"]


def test_import_is_shown_as_lines_for_people(cli: Cli, pem: Path) -> None:
    assert re.search(r"^state +next$", cli.ok("keys", "import", str(pem), "--algorithm", "ES256"), re.MULTILINE)


def test_import_is_refused_with_the_file_and_the_reason(cli: Cli, pem: Path) -> None:
    sentence = cli.fault("keys", "import", str(pem))
    assert sentence == f"{pem}: this is not a PEM private key that can sign RS256."
    pem.write_text("garbage")
    assert str(pem) in cli.fault("keys", "import", str(pem), "--algorithm", "ES256")
    pem.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    assert "ES256" in cli.fault("keys", "import", str(pem), "--algorithm", "ES256")


def test_import_is_refused_when_a_next_key_waits_or_the_key_was_here(cli: Cli, pem: Path) -> None:
    cli.ok("keys", "import", str(pem), "--algorithm", "ES256")
    assert "rotate first" in cli.fault("keys", "import", str(pem), "--algorithm", "ES256")
    cli.ok("keys", "rotate", "--algorithm", "ES256")
    assert "already" in cli.fault("keys", "import", str(pem), "--algorithm", "ES256")


@pytest.mark.parametrize("path", ["missing.pem", "."])
def test_import_is_a_usage_error_when_there_is_no_such_file(cli: Cli, path: str) -> None:
    result = cli.run("keys", "import", path)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_rotation_goes_on_when_the_keyring_is_of_another_deployment(cli: Cli) -> None:
    (cli.folder / "keys" / "keyring.json").unlink()
    create_keyring(cli.folder / "keys")
    assert cli.json("keys", "rotate", "--algorithm", "ES256")["state"] == "active"
