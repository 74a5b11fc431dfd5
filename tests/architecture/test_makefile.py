"""The Makefile explains itself, and no page names a target that does not exist."""

import re
import shutil
import subprocess

import pytest

from tests.support.components import REPOSITORY, missing
from tests.support.source import relative, tracked_files

MAKEFILE = (REPOSITORY / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
EXPLAINED = set(re.findall(r"^([a-z][a-z-]*):.*## \S", MAKEFILE, re.MULTILINE))
EXPECTED = {"dev", "test", "lint", "types", "contracts", "check", "lock", "docs", "screenshots", "wheel"}


def test_every_target_is_explained() -> None:
    assert TARGETS == EXPLAINED
    assert TARGETS >= EXPECTED


def test_make_alone_prints_every_target() -> None:
    if not shutil.which("make"):
        missing("make is not installed")
    printed = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  ([a-z-]+) ", printed, re.MULTILINE)) == TARGETS


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_target_can_be_made(target: str) -> None:
    if not shutil.which("make"):
        missing("make is not installed")
    finished = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_pages_name_only_targets_that_exist() -> None:
    named = {
        (relative(path), target)
        for path in tracked_files()
        if path.suffix == ".md"
        for target in re.findall(r"(?:`|^ {4}|^\$ )make ([a-z][a-z-]*)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert sorted(each for each in named if each[1] not in TARGETS) == []


def test_check_is_what_ci_runs() -> None:
    assert re.search(r"^check:.*\n\tbash \.ci/run$", MAKEFILE, re.MULTILINE)
