"""The keyring: readable by its owner alone, never overwritten, and opening only what it sealed where it was sealed."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from server.infra.keyring import (
    Keyring,
    KeyringError,
    create_keyring,
    load_keyring,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def keyring(folder: Path) -> Keyring:
    create_keyring(folder)
    return load_keyring(folder)


def rewrite(folder: Path, **members: Any) -> None:
    path = folder / "keyring.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | members))


# ------------------------------------------------------------------------------------------------------------ the file


def test_keyring_is_its_owners_alone_when_it_is_made(folder: Path) -> None:
    path = create_keyring(folder)
    assert path == folder / "keyring.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_folder_is_made_with_those_above_it_or_used_when_it_is_there(folder: Path) -> None:
    assert create_keyring(folder / "deep" / "down").is_file()
    assert create_keyring(folder).is_file()


def test_keyring_holds_one_256_bit_key_when_it_is_made(folder: Path, keyring: Keyring) -> None:
    document = json.loads((folder / "keyring.json").read_text())
    assert list(document["keys"]) == [document["active"]]
    assert len(document["keys"][document["active"]]) == 44


def test_keyring_is_never_overwritten_when_there_is_one(folder: Path) -> None:
    path = create_keyring(folder)
    before = path.read_bytes()
    with pytest.raises(KeyringError, match="not overwritten"):
        create_keyring(folder)
    assert path.read_bytes() == before


def test_creation_is_refused_when_the_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(KeyringError):
        create_keyring(tmp_path / "keys")


def test_keyring_tells_how_to_make_one_when_it_is_missing(folder: Path) -> None:
    with pytest.raises(KeyringError, match="gatepost keyring create"):
        load_keyring(folder)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666])
def test_keyring_is_refused_when_others_may_touch_it(folder: Path, mode: int) -> None:
    path = create_keyring(folder)
    path.chmod(mode)
    with pytest.raises(KeyringError) as caught:
        load_keyring(folder)
    assert f"{mode:04o}" in str(caught.value)
    assert f"chmod 600 {path}" in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_keyring_loads_when_only_its_owner_may_read_it(folder: Path, mode: int) -> None:
    create_keyring(folder).chmod(mode)
    assert load_keyring(folder).encrypt(b"x", "a place")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="a list"),
        pytest.param("null", id="null"),
        pytest.param('{"active": "a"}', id="no keys"),
        pytest.param('{"active": "a", "keys": []}', id="keys are a list"),
        pytest.param('{"active": "a", "keys": {}}', id="no key at all"),
        pytest.param('{"keys": {"a": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}', id="no active"),
        pytest.param(
            '{"active": "b", "keys": {"a": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}', id="active names no key"
        ),
        pytest.param('{"active": "a", "keys": {"a": "AAAA"}}', id="short key"),
        pytest.param('{"active": "a", "keys": {"a": "A"}}', id="key is not base64"),
        pytest.param('{"active": "a", "keys": {"a": 5}}', id="key is a number"),
    ],
)
def test_keyring_is_refused_when_it_is_not_one(folder: Path, content: str) -> None:
    path = create_keyring(folder)
    path.write_text(content)
    with pytest.raises(KeyringError, match=r"cannot be read as a keyring\. Restore it"):
        load_keyring(folder)


def test_keyring_is_refused_when_it_is_a_folder(folder: Path) -> None:
    (folder / "keyring.json").mkdir(parents=True, mode=0o700)
    with pytest.raises(KeyringError, match="cannot be read as a keyring"):
        load_keyring(folder)


def test_key_material_stays_out_of_errors_when_the_file_is_broken(folder: Path) -> None:
    create_keyring(folder).write_text('{"active": "a", "keys": {"a": "topsecretkey"}}')
    with pytest.raises(KeyringError) as caught:
        load_keyring(folder)
    assert "topsecret" not in str(caught.value)


# ---------------------------------------------------------------------------------------------------------- encryption


def test_ciphertext_opens_when_nothing_changed(keyring: Keyring) -> None:
    assert keyring.decrypt(keyring.encrypt(b"private", "keys:1"), "keys:1") == b"private"


def test_ciphertext_differs_each_time_when_the_same_text_is_encrypted(keyring: Keyring) -> None:
    assert keyring.encrypt(b"private", "keys:1") != keyring.encrypt(b"private", "keys:1")


def test_ciphertext_does_not_open_when_it_was_moved_to_another_context(keyring: Keyring) -> None:
    sealed = keyring.encrypt(b"private", "keys:1")
    with pytest.raises(KeyringError, match="altered or moved"):
        keyring.decrypt(sealed, "keys:2")


ALTERATIONS = [
    pytest.param(lambda text: text[:-1], id="last character gone"),
    pytest.param(lambda text: text[:-4], id="last four gone"),
    pytest.param(lambda text: text[:-8] + ("AAAA" if text[-8:-4] != "AAAA" else "BBBB") + text[-4:], id="tag changed"),
    pytest.param(lambda text: text + "A", id="one more character"),
    pytest.param(lambda text: text + "!", id="a foreign character"),
    pytest.param(lambda text: text[:-6] + "\n" + text[-6:], id="a line break"),
    pytest.param(lambda text: text[:-4] + "éééé", id="not ASCII"),
    pytest.param(lambda text: text.rpartition(".")[0] + ("." if "." in text else ""), id="body gone"),
    pytest.param(lambda text: text.rpartition(".")[0] + ("." if "." in text else "") + "AAAA", id="body too short"),
]


@pytest.mark.parametrize("alter", ALTERATIONS)
def test_ciphertext_does_not_open_when_it_was_altered(keyring: Keyring, alter: Any) -> None:
    sealed = keyring.encrypt(b"a private key of some length", "keys:1")
    with pytest.raises(KeyringError):
        keyring.decrypt(alter(sealed), "keys:1")


def test_ciphertext_does_not_open_at_any_altered_bit(keyring: Keyring) -> None:
    sealed = keyring.encrypt(b"x", "c")
    head, _, body = sealed.rpartition(".")
    for index, character in enumerate(body.rstrip("=")):
        other = body[:index] + ("A" if character != "A" else "Q") + body[index + 1 :]
        with pytest.raises(KeyringError):
            keyring.decrypt(f"{head}.{other}", "c")


@pytest.mark.parametrize("text", ["", "g1", "g1.", "g2.a.b", "plain text"])
def test_ciphertext_is_of_no_known_key_when_its_form_is_another(keyring: Keyring, text: str) -> None:
    with pytest.raises(KeyringError, match="not in this keyring"):
        keyring.decrypt(text, "keys:1")


def test_ciphertext_is_of_no_known_key_when_another_deployment_made_it(keyring: Keyring, tmp_path: Path) -> None:
    create_keyring(tmp_path / "other")
    sealed = load_keyring(tmp_path / "other").encrypt(b"private", "keys:1")
    with pytest.raises(KeyringError, match="not in this keyring"):
        keyring.decrypt(sealed, "keys:1")


def test_old_keys_still_read_when_a_new_one_is_active(folder: Path, keyring: Keyring) -> None:
    sealed = keyring.encrypt(b"private", "keys:1")
    old = json.loads((folder / "keyring.json").read_text())
    rewrite(folder, active="new", keys={**old["keys"], "new": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="})
    turned = load_keyring(folder)
    assert turned.decrypt(sealed, "keys:1") == b"private"
    assert turned.encrypt(b"private", "keys:1").split(".")[1] == "new"


# ------------------------------------------------------------------------------------------------- sealed with a secret


def test_derived_key_is_the_same_for_the_same_context_and_another_for_any_other() -> None:
    ring = Keyring({"a": b"\x01" * 32, "b": b"\x02" * 32}, "a")
    assert ring.derive_key("chain") == Keyring({"a": b"\x01" * 32}, "a").derive_key("chain")
    assert ring.active == "a"
    assert len({ring.derive_key("chain"), ring.derive_key("other"), ring.derive_key("chain", "b"), b"\x01" * 32}) == 4


def test_no_key_is_derived_when_the_named_one_is_not_on_the_ring() -> None:
    with pytest.raises(KeyringError, match="The key c is not in this keyring"):
        Keyring({"a": b"\x01" * 32}, "a").derive_key("chain", "c")
