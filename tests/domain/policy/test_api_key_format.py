"""Is this text an API key? The checksum says so without a database."""

from __future__ import annotations

import binascii
import re
import string

import pytest

from server.domain.policy.api_key_format import PUBLIC_LENGTH, RANDOM_LENGTH, ParsedKey, make, parse
from server.infra import secrets
from tests.properties.api_keys import make_many

PREFIXES = ("sk_live_", "sk_test_", "rk_", "sk_")
RANDOM = "abcdefghijABCDEFGHIJ0123456789xy"
KEY = make("sk_live_", RANDOM)
ALPHABET = string.digits + string.ascii_letters


def checksum_by_hand(text: str) -> str:
    """The checksum as a scanner would compute it, knowing the documentation alone."""
    number = binascii.crc32(text.encode("ascii"))
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    return "".join(digits[number // 62**place % 62] for place in reversed(range(6)))


@pytest.mark.spec("K-01")
@pytest.mark.parametrize("prefix", PREFIXES)
def test_key_has_its_documented_form(prefix: str) -> None:
    key = make(prefix, secrets.new_secret()[:RANDOM_LENGTH])
    assert re.fullmatch(rf"{prefix}[0-9A-Za-z]{{32}}_[0-9A-Za-z]{{6}}", key)
    assert key[-6:] == checksum_by_hand(key[:-7])


@pytest.mark.spec("K-01")
def test_key_is_read_as_it_was_made() -> None:
    assert parse(PREFIXES, KEY) == ParsedKey("sk_live_", RANDOM[:PUBLIC_LENGTH])
    assert parse(PREFIXES, make("sk_", RANDOM)) == ParsedKey("sk_", RANDOM[:PUBLIC_LENGTH])


def test_key_is_none_when_its_prefix_is_not_ours() -> None:
    assert parse(PREFIXES, make("pk_live_", RANDOM)) is None


@pytest.mark.spec("K-02")
def test_key_is_none_when_any_character_differs() -> None:
    for place, right in enumerate(KEY):
        for wrong in (*ALPHABET, "_", "-", " ", "é", "\u0430"):
            if wrong != right:
                assert parse(PREFIXES, KEY[:place] + wrong + KEY[place + 1 :]) is None, (place, wrong)


@pytest.mark.spec("K-02")
@pytest.mark.parametrize(
    "spoilt",
    [
        "",
        *(KEY[:length] for length in range(len(KEY))),
        *(KEY + more for more in ("x", " ", "\n", "\0", "=", "_")),
        *(more + KEY for more in ("x", " ", "\ufeff")),
        KEY.upper(),
        KEY.lower(),
        KEY.swapcase(),
        # Characters that look like ours, or become ours when they are normalised.
        KEY.replace("a", "\u0430"),
        KEY.replace("k", "\u212a"),
        "".join(chr(ord(each) + 0xFEE0) if each.isalnum() else each for each in KEY),
        KEY.replace("_", "-"),
        KEY.replace("0", "\u0660"),
    ],
)
def test_key_is_none_when_it_is_cut_or_dressed_up(spoilt: str) -> None:
    assert parse(PREFIXES, spoilt) is None


@pytest.mark.parametrize("random_text", [RANDOM[:-1], RANDOM + "x", RANDOM[:-1] + "_", RANDOM[:-1] + "é"])
def test_key_is_not_made_of_anything_else(random_text: str) -> None:
    with pytest.raises(ValueError, match="32 letters and digits"):
        make("sk_", random_text)


@pytest.mark.spec("K-01")
def test_keys_differ_and_use_every_character_alike() -> None:
    """`python -m tests.properties keys` makes a million."""
    assert make_many(100_000)["keys made"] == 100_000
