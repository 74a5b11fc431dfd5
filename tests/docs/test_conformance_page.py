"""docs/conformance.md: every module of the plans, each with the test that stands for it, and what the command makes."""

from __future__ import annotations

import ast
import re

import pytest

from server.cli.conformance import PORT, SUITE, default_settings
from server.cli.conformance_plans import ALIAS
from server.config import PREFIX, Settings
from server.domain.conformance_seed import BACKCHANNEL, CLIENT, CLIENT2, CLIENT_SECRET_POST, FRONTCHANNEL
from server.domain.demo_seed import EMAIL
from tests.support.components import REPOSITORY

PAGE = (REPOSITORY / "docs" / "conformance.md").read_text("utf-8")
SECTION = re.compile(r"^### .*: `(?P<file>tests/conformance/test_\w+\.py)`$", re.MULTILINE)
ROW = re.compile(r"^\| `(?P<module>oidcc-[\w-]+)` \| `(?P<test>test_\w+)` \| (?P<note>[^|]*) \|$", re.MULTILINE)
#: How many modules each part has; Basic, Implicit and Hybrid share one file.
MODULES = {
    "tests/conformance/test_basic.py": 38,
    "tests/conformance/test_implicit_hybrid.py": 1,
    "tests/conformance/test_config.py": 1,
    "tests/conformance/test_dynamic.py": 22,
    "tests/conformance/test_third_party_initiated_login.py": 2,
    "tests/conformance/test_logout.py": 17,
}


def rows() -> dict[str, dict[str, str]]:
    """Module to test, for each file."""
    parts = SECTION.split(PAGE)
    return {
        file: {row["module"]: row["test"] for row in ROW.finditer(text)}
        for file, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def module_tests(file: str) -> list[str]:
    """The tests of a file that stand for a module, in order."""
    tree = ast.parse((REPOSITORY / file).read_text("utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name for name in names if name.startswith("test_oidcc_")]


def test_page_has_every_file_that_stands_for_modules() -> None:
    found = {
        path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "tests" / "conformance").glob("test_*.py")
    }
    assert set(rows()) == set(MODULES) == {file for file in found if module_tests(file)}


@pytest.mark.parametrize(("file", "count"), MODULES.items())
def test_every_module_stands_with_the_test_of_its_name(file: str, count: int) -> None:
    found = rows()[file]
    assert len(found) == count
    assert list(found.values()) == module_tests(file), "the table has the tests in their order"
    for module, test in found.items():
        assert test == "test_" + module.replace("-", "_").lower()


def test_page_names_what_the_command_makes() -> None:
    defaults = default_settings(PORT)
    for text in (
        *(defaults["issuer"], str(defaults["outbound_ca_file"]), defaults["database_url"], f"{SUITE}/test/a/{ALIAS}"),
        *(CLIENT, CLIENT2, CLIENT_SECRET_POST, BACKCHANNEL, FRONTCHANNEL, EMAIL),
    ):
        assert text in PAGE, text


def test_every_setting_on_the_page_exists() -> None:
    named = set(re.findall(rf"{PREFIX}([A-Z_]+)", PAGE))
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_skipped_modules_are_those_that_the_table_marks() -> None:
    marked = {row["module"] for row in ROW.finditer(PAGE) if row["note"].startswith("Skipped")}
    told = PAGE.partition("## What to expect")[2].partition("Modules about pages")[0]
    assert set(re.findall(r"`(oidcc-[\w-]+)`", told)) == marked
