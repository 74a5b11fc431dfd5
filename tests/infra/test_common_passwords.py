"""The list of common passwords: packed, found in whatever case, and read only when a password is set."""

from __future__ import annotations

import subprocess
import sys

import pytest

from server.infra import common_passwords
from server.infra.common_passwords import PACKED, guesses_log10, is_common, pack
from tests.support.components import REPOSITORY


@pytest.mark.spec("P-04")
def test_list_holds_the_commonest_in_any_case() -> None:
    assert all(map(is_common, ["password", "Password", "PASSWORD1", "12345678", "trustno1", "sunshine", "princess1"]))


@pytest.mark.parametrize("password", ["", "correct horse battery staple", "kq7 wolf ", "ä grüne Brücke"])
def test_other_passwords_are_not_on_the_list(password: str) -> None:
    assert not is_common(password)


@pytest.mark.spec("P-04")
def test_file_holds_sorted_entries_that_differ() -> None:
    packed = PACKED.read_bytes()
    entries = [packed[place : place + 4] for place in range(0, len(packed), 4)]
    assert len(packed) % 4 == 0
    assert len(entries) > 90_000
    assert entries == sorted(set(entries))


def test_packing_forgets_order_case_and_repetitions() -> None:
    assert pack(["second", "First", "first"]) == pack(["first", "SECOND"])
    assert len(pack(["second", "first"])) == 8
    assert pack([]) == b""


def test_first_and_last_entries_are_found_and_nothing_beyond_them(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"word {number}" for number in range(9)]
    monkeypatch.setattr(common_passwords, "_packed", lambda: pack(words))
    assert all(map(is_common, words))
    assert not any(is_common(f"other {number}") for number in range(200))


def test_words_an_attacker_thinks_of_first_make_a_password_easy() -> None:
    assert guesses_log10("wolpertinger7", ["wolpertinger"]) < 5
    assert guesses_log10("wolpertinger7", []) > 8


def test_long_password_is_judged_by_its_beginning() -> None:
    assert guesses_log10("correct horse battery staple " * 35, []) > 15
    assert guesses_log10("x" * 1024, []) < 4


def test_nothing_is_read_when_the_application_is_loaded() -> None:
    """Workers only verify passwords: word lists would take megabytes of each."""
    script = (
        "import sys, server.app\nfrom server.infra import common_passwords\n"
        "assert 'zxcvbn' not in sys.modules and 'redis' not in sys.modules\n"
        "assert common_passwords._packed.cache_info().currsize == 0"
    )
    finished = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
