"""What the README and the pages under `docs/` tell a reader to type works."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.components import REPOSITORY
from tests.support.documented_commands import CURL, FENCE, Reader, commands, pages

INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q --require-hashes -r"
SERVE = f"{INSTALL} requirements.lock && .venv/bin/python -m server dev"
TEST = f"{INSTALL} requirements-dev.lock && .venv/bin/python -m pytest -q"

SHOWN = [(page, commands(page)) for page in pages() if page.exists()]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path / "gatepost")
    yield reader
    reader.stop()


def test_readme_begins_with_two_commands_above_a_screenshot() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    assert commands(REPOSITORY / "README.md")[:2] == [SERVE, TEST]
    screenshot = re.search(r"!\[[^\]]+\]\((docs/[^)]+\.png)\)|<img[^>]+src=\"(docs/[^\"]+\.png)\"", text)
    assert screenshot
    assert (REPOSITORY / (screenshot[1] or screenshot[2])).exists()
    assert text.index(SERVE) < text.index(TEST) < screenshot.start()
    assert text[: screenshot.start()].count("\n") < 40


def test_every_fenced_block_says_what_it_is() -> None:
    unmarked = [
        f"{page.name}:{text.count(chr(10), 0, block.start()) + 1}"
        for page in pages()
        if page.exists()
        for text in [page.read_text("utf-8")]
        for block in FENCE.finditer(text)
        if not block["language"]
    ]
    assert unmarked == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("page", "shown"),
    [(page, shown) for page, shown in SHOWN if shown],
    ids=[page.relative_to(REPOSITORY).as_posix() for page, shown in SHOWN if shown],
)
def test_every_command_of_the_page_works(page: Path, shown: list[str], reader: Reader) -> None:
    for command in shown:
        printed = reader.run(command)
        if command == SERVE:
            pasted = CURL.search(printed)
            assert pasted, printed
            assert json.loads(reader.run(pasted[1]))["access_token"]
