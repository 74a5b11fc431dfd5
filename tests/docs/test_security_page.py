"""docs/security.md: every rule once, every file and name it mentions there, and a test for each rule that holds."""

import ast
import sys
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: How many rules each family of the project's requirements has.
FAMILIES = {
    "AZ": 32,
    "TK": 32,
    "S": 12,
    "C": 11,
    "P": 8,
    "B": 8,
    "E": 6,
    "M": 6,
    "H": 4,
    "F": 8,
    "L": 7,
    "K": 18,
    "R": 39,
    "INV": 48,
}


@pytest.fixture(scope="module")
def page(monkeypatch_module: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch_module.setattr(sys, "path", [str(ROOT / "docs"), *sys.path])
    return loaded("security_page")


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def loaded(name: str) -> ModuleType:
    spec = util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def marks(page: ModuleType) -> list[tuple[str, str]]:
    return list(loaded("generate").marked_in_tests())


def test_every_rule_of_the_list_stands_once(page: ModuleType) -> None:
    expected = {f"{family}-{number:02d}" for family, count in FAMILIES.items() for number in range(1, count + 1)}
    known = page.rules()
    assert not set(known["kept"]) & set(known["waiting"])
    assert {*known["kept"], *known["waiting"]} == {*expected, "RED"}


def test_every_file_and_name_that_holds_a_rule_exists(page: ModuleType) -> None:
    for rule, (_, _, where) in page.rules()["kept"].items():
        assert page.holders(where), rule
        for file, name in page.holders(where):
            path = ROOT / file
            assert path.is_file(), (rule, file)
            if name is not None:
                assert name in names_in(path), (rule, file, name)


def names_in(path: Path) -> set[str]:
    """What a module defines at its top."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def test_every_rule_that_holds_has_a_test_and_every_mark_names_a_rule(
    page: ModuleType, marks: list[tuple[str, str]]
) -> None:
    tests, known = page.tests_of_rules(marks), page.rules()
    assert not [rule for rule in known["kept"] if rule not in tests]
    assert not [rule for rule in known["waiting"] if rule in tests], "these hold now: move them to [kept]"
    assert set(tests) <= set(known["kept"])


def test_page_tells_every_rule_with_tests_that_carry_its_mark(page: ModuleType, marks: list[tuple[str, str]]) -> None:
    """Whether it tells of all of them is asked by `python docs/generate.py --check`."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert text.count(page.MARKER) == 1
    tests = page.tests_of_rules(marks)
    for rule, (threat, holds, where) in page.rules()["kept"].items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| {rule} | "))
        assert row.startswith(f"| {rule} | {threat} | {holds} | `{where.split()[0].partition(':')[0]}`"), rule
        named = {f"tests/{part}" for part in row.split("`") if "::" in part}
        assert named, rule
        assert named <= set(tests[rule]), (rule, "run: make docs")
    for rule, (asks, waits) in page.rules()["waiting"].items():
        assert text.count(f"\n| {rule} | {asks} | {waits} |\n") == 1
