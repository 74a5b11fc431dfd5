"""Identifiers and secrets: long enough, safe to paste, digested and compared as they should be."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter

import pytest

from server.infra import secrets


def test_id_is_22_characters_of_base62() -> None:
    assert re.fullmatch(r"[0-9A-Za-z]{22}", secrets.new_id())


def test_secret_is_43_characters_of_base62_after_its_prefix() -> None:
    assert re.fullmatch(r"rt_[0-9A-Za-z]{43}", secrets.new_secret("rt_"))


@pytest.mark.spec("S-01")
def test_every_character_comes_as_often_as_any_other() -> None:
    """Chi-square over the 62 characters: about 61, above 110 once in ten thousand runs."""
    counts = Counter("".join(secrets.new_secret() for _ in range(4000)))
    expected = counts.total() / 62
    assert len(counts) == 62
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 140


def test_identifier_is_drawn_again_when_too_few_bytes_were_fair(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([bytes([255] * 30), bytes(range(30))])
    monkeypatch.setattr(secrets.os, "urandom", lambda _: next(draws))
    assert secrets.new_id() == "0123456789ABCDEFGHIJKL"


def test_derived_secrets_keep_every_bit_and_depend_on_key_and_message() -> None:
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    for width, made in ((43, secrets.derived_secret(b"key", "message")), (22, secrets.derived_id(b"key", "message"))):
        value = 0
        for character in made:
            value = value * 62 + alphabet.index(character)
        full = hmac.digest(b"key", b"message", "sha256")
        assert (len(made), value) == (width, int.from_bytes(full if width == 43 else full[:16]))
    assert secrets.derived_secret(b"key", "message", "rt_").startswith("rt_")
    several = {secrets.derived_secret(key, text) for key in (b"one", b"two") for text in ("a", "b")}
    assert len(several) == 4


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
