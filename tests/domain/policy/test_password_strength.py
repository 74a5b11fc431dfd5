"""Is this password acceptable? Its length, what attackers know, and whose it is; never what it is composed of."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from server.domain.policy.password_strength import names_of, why_unacceptable
from server.infra import common_passwords

COMMON = "Many people have used this one, so it is tried first. Choose another."
GUESSABLE = "This is easy to guess. Use a few words that don't belong together."
FROM_NAMES = "Don't build it from your name, your address or the name of this site."
NAMES = names_of("grace.hopper@example.com", "Grace Brewster Hopper", "Example Login")


def judged(password: str, minimum: int = 15) -> str | None:
    return why_unacceptable(password, minimum, NAMES, common_passwords)


@pytest.mark.spec("NIST SP 800-63B-4 §3.1.1.2")
@pytest.mark.spec("P-03")
@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "nothing but lower case and spaces",
        "738201946275018",
        "QVXKJWZPLMRTHBN",
        "drei grüne Pässe für Übermorgen",
        "🦊🐘🐝🦉🐢🦋🐙🦔🐌🦜🐳🦀🐎🐓🐇",
        "correct horse " * 70,
        "ä grüne Brücke " * 50,
    ],
)
def test_password_is_fine_when_it_is_long_enough_whatever_it_is_made_of(password: str) -> None:
    assert judged(password) is None


@pytest.mark.spec("P-03")
@pytest.mark.parametrize("password", ["", "Aa1!Aa1", "x" * 14, "🦊" * 14])
def test_password_is_refused_when_it_is_short(password: str) -> None:
    assert judged(password) == "Use 15 characters or more. A few words work well."


@pytest.mark.spec("P-03")
def test_minimum_is_the_deployments_own() -> None:
    assert judged("kq7 wolf ", minimum=8) is None
    assert judged("kq7 wol", minimum=8) == "Use 8 characters or more. A few words work well."


@pytest.mark.spec("P-02")
@pytest.mark.parametrize("password", ["x" * 1025, "ä" * 513, "🦊" * 257])
def test_password_is_refused_when_it_is_longer_than_anyone_types(password: str) -> None:
    assert judged(password) == "Use at most 1024 bytes."


@pytest.mark.spec("P-02")
@pytest.mark.parametrize(
    "password", ["pass\0word", "password\n", "pass\tword", "\x7fpassword", "pass\u0085word", "pass\ud800word"]
)
def test_password_is_refused_when_a_character_cannot_be_typed(password: str) -> None:
    assert judged(password) == "Use letters, digits, signs and spaces; this has a character that cannot be typed."


@pytest.mark.spec("P-04")
@pytest.mark.parametrize(
    "password", ["password123", "PassWord123", "iloveyou1", "qwertyuiop", "football1", "ｐassword123"]
)
def test_password_is_refused_when_many_people_have_used_it(password: str) -> None:
    assert judged(password, minimum=8) == COMMON


@pytest.mark.spec("P-04")
@pytest.mark.parametrize(
    "password",
    ["aaaaaaaaaaaaaaaaaaaa", "abcdefghijklmnop", "123456789012345678", "P@ssw0rd!P@ssw0rd!", "qwertyuiopasdfghjkl;"],
)
def test_password_is_refused_when_few_guesses_find_it(password: str) -> None:
    assert judged(password) in {GUESSABLE, COMMON}


@pytest.mark.spec("P-05")
@pytest.mark.parametrize(
    "password",
    [
        "grace.hopper@example.com",
        "Grace Brewster Hopper!",
        "HopperGraceHopper1906",
        "gracegracegracegrace",
        "grace.hopper.2026",
        "Example Login 2026",
        "gatepost gatepost 12",
        "ＧＲＡＣＥ grace Grace!",
    ],
)
def test_password_is_refused_when_it_is_built_from_names(password: str) -> None:
    assert judged(password) == FROM_NAMES


@pytest.mark.spec("P-05")
def test_name_may_occur_in_a_password_that_is_good_without_it() -> None:
    assert judged("grace paints seven violet herons") is None


def test_names_are_whole_and_in_parts_and_none_is_too_short_to_mean_anything() -> None:
    assert names_of("Al.Ng@example.com", None, "X") == {
        "al.ng@example.com", "al.ng", "example", "com", "gatepost"
    }  # fmt: skip


def test_knowledge_is_asked_last_and_gets_the_names() -> None:
    class Recorder:
        def __init__(self) -> None:
            self.asked: list[object] = []

        def is_common(self, password: str) -> bool:
            self.asked.append(password)
            return False

        def guesses_log10(self, password: str, words: Iterable[str]) -> float:
            self.asked.append(set(words))
            return 8.0

    recorder = Recorder()
    assert why_unacceptable("short", 15, NAMES, recorder) is not None
    assert why_unacceptable("Grace Brewster Hopper!", 15, NAMES, recorder) is not None
    assert recorder.asked == []
    assert why_unacceptable("a password of mine", 15, NAMES, recorder) is None
    assert recorder.asked == ["a password of mine", set(NAMES)]
