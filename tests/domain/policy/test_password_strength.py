"""Is this password acceptable? Length decides, nothing else."""

from __future__ import annotations

import pytest

from server.domain.policy.password_strength import why_unacceptable


@pytest.mark.spec("NIST SP 800-63B-4 §3.1.1")
@pytest.mark.parametrize(
    "password",
    ["12345678", "aaaaaaaa", "        ", "pässwörd", "🦊" * 8, "x" * 1024, "ä" * 512],
)
def test_password_is_fine_when_it_is_long_enough_whatever_it_is_made_of(password: str) -> None:
    assert why_unacceptable(password) is None


@pytest.mark.parametrize("password", ["", "1234567", "🦊" * 7, "Aa1!Aa1"])
def test_password_is_refused_when_it_is_short(password: str) -> None:
    assert why_unacceptable(password) == "Use 8 characters or more. A few words work well."


@pytest.mark.parametrize("password", ["x" * 1025, "ä" * 513, "🦊" * 257])
def test_password_is_refused_when_it_is_longer_than_anyone_types(password: str) -> None:
    assert why_unacceptable(password) == "Use at most 1024 bytes."


@pytest.mark.parametrize(
    "password", ["pass\0word", "password\n", "pass\tword", "\x7fpassword", "pass\u0085word", "pass\ud800word"]
)
def test_password_is_refused_when_a_character_cannot_be_typed(password: str) -> None:
    assert why_unacceptable(password) == (
        "Use letters, digits, signs and spaces; this has a character that cannot be typed."
    )
