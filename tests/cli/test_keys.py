"""`gatepost keys`: list, rotate by hand and in an emergency, retire and import, for people and for programs."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.domain.key_rotation import prepare_next_key
from server.domain.signing_keys import ALGORITHMS
from server.infra.jose import SIGNING_ALGORITHMS
from server.infra.keyring import create_keyring

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

FIELDS = ["kid", "algorithm", "use", "state", "created_at", "activated_at", "remove_after"]
WARNING = "GATEPOST_SIGNING_KEY_PUBLICATION"


def rotated(cli: Cli, *options: str) -> Any:
    """What a rotation prints whose key verifiers had no time to meet; the warning stands apart from it."""
    result = cli.run("keys", "rotate", *options, "--json")
    assert result.exit_code == 0, result.output
    assert WARNING in result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def test_list_is_a_table_for_people_and_complete_for_programs(cli: Cli) -> None:
    head, *rows = cli.ok("keys", "list").splitlines()
    assert head.split() == FIELDS
    assert len(rows) == len(ALGORITHMS)
    documents = cli.json("keys", "list")
    assert [list(document) for document in documents] == [FIELDS] * len(ALGORITHMS)
    assert {document["algorithm"] for document in documents if document["use"] == "sig"} == set(SIGNING_ALGORITHMS)
    assert {document["algorithm"] for document in documents if document["use"] == "enc"} == {"RSA-OAEP-256", "ECDH-ES"}
    assert {document["state"] for document in documents} == {"active"}


def test_list_says_who_makes_keys_when_there_are_none(empty_cli: Cli) -> None:
    empty_cli.ok("keyring", "create")
    empty_cli.ok("db", "upgrade")
    assert "gatepost serve" in empty_cli.ok("keys", "list")
    assert empty_cli.json("keys", "list") == []


def test_new_key_signs_and_the_old_one_retires_when_rotated(cli: Cli) -> None:
    before = {document["algorithm"]: document["kid"] for document in cli.json("keys", "list")}
    made = rotated(cli, "--algorithm", "ES256")
    assert (made["algorithm"], made["state"]) == ("ES256", "active")
    keys = {document["kid"]: document for document in cli.json("keys", "list")}
    retiring = keys[before["ES256"]]
    assert retiring["state"] == "retiring"
    stays = datetime.fromisoformat(retiring["remove_after"]) - datetime.fromisoformat(made["activated_at"])
    assert timedelta(days=2) - timedelta(seconds=2) <= stays <= timedelta(days=2) + timedelta(seconds=2)
    assert keys[before["RS256"]]["state"] == "active"
    assert cli.audit_rows("signing_key.rotated")[0].details["kid"] == made["kid"]


def test_rs256_is_rotated_when_no_algorithm_is_named(cli: Cli) -> None:
    assert re.search(r"^algorithm +RS256$", cli.run("keys", "rotate").stdout, re.MULTILINE)


def test_next_key_is_only_published_when_prepared(cli: Cli) -> None:
    prepared = cli.json("keys", "rotate", "--algorithm", "EdDSA", "--prepare")
    assert (prepared["state"], prepared["activated_at"]) == ("next", None)
    assert cli.json("keys", "rotate", "--algorithm", "EdDSA", "--prepare")["kid"] == prepared["kid"]
    assert rotated(cli, "--algorithm", "EdDSA")["kid"] == prepared["kid"]


def test_rotation_warns_of_nothing_when_the_next_key_was_published_for_a_day(cli: Cli) -> None:
    with cli.gatepost() as gatepost:
        gatepost.clock.advance((datetime.now(UTC) - gatepost.clock.now()).total_seconds() - 86400)
        with gatepost.work() as work:
            prepared = prepare_next_key(work, "ES256").kid
    assert cli.json("keys", "rotate", "--algorithm", "ES256")["kid"] == prepared


@pytest.mark.spec("R-14")
def test_leaked_key_is_out_and_a_new_one_signs_in_an_emergency(cli: Cli) -> None:
    before = {document["algorithm"]: document["kid"] for document in cli.json("keys", "list")}
    waiting = cli.json("keys", "rotate", "--algorithm", "ES256", "--prepare")["kid"]
    made = cli.json("keys", "rotate", "--algorithm", "ES256", "--emergency")
    assert made["state"] == "active"
    keys = {document["kid"]: document for document in cli.json("keys", "list")}
    assert {keys[kid]["state"] for kid in (before["ES256"], waiting)} == {"removed"}
    assert made["kid"] not in {before["ES256"], waiting}
    assert keys[before["RS256"]]["state"] == "active"
    assert cli.audit_rows("signing_key.rotated")[0].details["emergency"] is True


@pytest.mark.spec("R-14")
def test_every_key_is_replaced_when_all_may_have_leaked(cli: Cli) -> None:
    before = {document["kid"] for document in cli.json("keys", "list")}
    made = cli.json("keys", "rotate", "--algorithm", "all", "--emergency")
    assert [document["algorithm"] for document in made] == list(ALGORITHMS)
    keys = cli.json("keys", "list")
    assert {document["kid"] for document in keys if document["state"] == "removed"} == before
    assert {document["kid"] for document in keys if document["state"] == "active"} == {each["kid"] for each in made}


def test_next_key_of_each_signing_algorithm_is_published_when_all_are_prepared(cli: Cli) -> None:
    head, *rows = cli.ok("keys", "rotate", "--algorithm", "all", "--prepare").splitlines()
    assert head.split() == FIELDS
    assert len(rows) == len(SIGNING_ALGORITHMS)
    assert cli.json("keys", "rotate", "--algorithm", "all", "--prepare") == [
        document
        for algorithm in SIGNING_ALGORITHMS
        for document in cli.json("keys", "list")
        if (document["algorithm"], document["state"]) == (algorithm, "next")
    ]


def test_key_that_others_encrypt_to_rotates_without_a_warning(cli: Cli) -> None:
    made = cli.json("keys", "rotate", "--algorithm", "ECDH-ES")
    states = {document["kid"]: document["state"] for document in cli.json("keys", "list")}
    assert states[made["kid"]] == "active"
    assert sorted(states.values()) == sorted(["active"] * len(ALGORITHMS) + ["retiring"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--prepare", "--emergency"), "exclude each other"),
        (("--prepare", "--algorithm", "ECDH-ES"), "need no preparation"),
        (("--algorithm", "HS256"), "is not one of"),
    ],
)
def test_rotation_is_a_usage_error_when_it_makes_no_sense(cli: Cli, options: tuple[str, ...], sentence: str) -> None:
    before = cli.json("keys", "list")
    result = cli.run("keys", "rotate", *options)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert cli.json("keys", "list") == before


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
    assert rotated(cli, "--algorithm", "ES256")["kid"] == imported["kid"]


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
    rotated(cli, "--algorithm", "ES256")
    assert "already" in cli.fault("keys", "import", str(pem), "--algorithm", "ES256")


@pytest.mark.parametrize("path", ["missing.pem", "."])
def test_import_is_a_usage_error_when_there_is_no_such_file(cli: Cli, path: str) -> None:
    result = cli.run("keys", "import", path)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_rotation_goes_on_when_the_keyring_is_of_another_deployment(cli: Cli) -> None:
    (cli.folder / "keys" / "keyring.json").unlink()
    create_keyring(cli.folder / "keys")
    assert rotated(cli, "--algorithm", "ES256")["state"] == "active"
