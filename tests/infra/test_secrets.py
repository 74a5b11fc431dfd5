"""Identifiers and secrets: long enough, safe to paste, digested and compared as they should be."""

from __future__ import annotations

import hashlib
import hmac
import re

import pytest

from server.infra import secrets


def test_id_is_22_characters_of_base62() -> None:
    assert re.fullmatch(r"[0-9A-Za-z]{22}", secrets.new_id())


def test_secret_is_43_characters_of_base62_after_its_prefix() -> None:
    assert re.fullmatch(r"rt_[0-9A-Za-z]{43}", secrets.new_secret("rt_"))


@pytest.mark.parametrize(("bits", "width"), [(128, 22), (256, 43)])
def test_base62_keeps_every_bit_when_the_number_is_the_largest(
    monkeypatch: pytest.MonkeyPatch, bits: int, width: int
) -> None:
    monkeypatch.setattr(secrets.secrets, "randbits", lambda _: 2**bits - 1)
    text = secrets.new_id() if bits == 128 else secrets.new_secret()
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    value = 0
    for character in text:
        value = value * 62 + alphabet.index(character)
    assert (len(text), value) == (width, 2**bits - 1)


def test_secrets_are_all_different() -> None:
    assert len({secrets.new_secret() for _ in range(1000)} | {secrets.new_id() for _ in range(1000)}) == 2000


def test_digest_is_sha256_in_hex() -> None:
    assert secrets.digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("left", "right", "same"), [("a", "a", True), ("a", "b", False), ("a", "aa", False), ("é", "é", True)]
)
def test_comparison_tells_sameness(left: str, right: str, same: bool) -> None:
    assert secrets.equal(left, right) is same


def test_keyed_digest_is_hmac_sha256() -> None:
    assert secrets.keyed_digest("key", "message") == hmac.new(b"key", b"message", hashlib.sha256).hexdigest()
    assert secrets.keyed_digest("key", "message") != secrets.keyed_digest("yek", "message")
