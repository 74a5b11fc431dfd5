"""`docs/architecture.md` answers where things live; its answers are true.

The page holds a table with the header `| Question | File | Look for |`. The file and what to look for stand in
backticks; what to look for is a regular expression that occurs in the file.
"""

import re

import pytest

from tests.support.components import REPOSITORY

PAGE = REPOSITORY / "docs" / "architecture.md"
ROW = re.compile(r"^\|\s*(?P<question>[^|`]+?)\s*\|\s*`(?P<file>[^`|]+)`\s*\|\s*`(?P<symbol>[^`]+)`\s*\|\s*$")

# What a stranger must be able to find.
TOPICS = [
    "refresh",
    "redirect uri",
    "consent",
    "key rotation",
    "pkce",
    "client authentication|authenticate",
    "session cookie",
    "discovery",
    "audit",
    "token request",
]


def answers() -> list[tuple[str, str, str]]:
    if not PAGE.exists():
        return []
    rows = (ROW.match(line) for line in PAGE.read_text("utf-8").splitlines())
    return [(row["question"], row["file"], row["symbol"].replace("\\|", "|")) for row in rows if row]


@pytest.mark.parametrize(("question", "file", "symbol"), answers(), ids=lambda value: str(value)[:40])
def test_answer_is_true(question: str, file: str, symbol: str) -> None:
    path = REPOSITORY / file
    assert path.is_file(), f"{question}: {file} does not exist"
    assert re.search(symbol, path.read_text("utf-8")), f"{question}: {symbol} does not occur in {file}"


@pytest.mark.parametrize("topic", TOPICS)
def test_page_answers_what_a_stranger_asks(topic: str) -> None:
    assert [question for question, _, _ in answers() if re.search(topic, question, re.IGNORECASE)]


def test_every_file_the_pages_name_exists() -> None:
    named = {
        (page.name, name)
        for page in [*(REPOSITORY / "docs").glob("*.md"), *REPOSITORY.glob("*.md")]
        for name in re.findall(
            r"`((?:server|templates|migrations|tests|docs|keys)/[\w./-]+\.\w+)`", page.read_text("utf-8")
        )
    }
    assert sorted((page, name) for page, name in named if not (REPOSITORY / name).exists()) == []
