"""The tables of `docs/security.md`, from `docs/security.toml` and the tests that carry a rule's mark."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
MARKER = "<!-- Below: written by `make docs` from docs/security.toml and the marks of the tests. -->"
RULE = re.compile(r"(?:AZ|TK|S|C|P|B|E|M|H|F|L|K|R|INV)-\d{2}|RED")
FAMILIES = {
    "AZ": "Authorization endpoint",
    "TK": "Token, revocation, introspection, metadata",
    "S": "Sessions and cookies",
    "C": "Forgery across sites, CORS, headers",
    "P": "Passwords",
    "B": "Guessing",
    "E": "Enumeration and recovery",
    "H": "Host and forwarded headers",
    "F": "Requests to other servers",
    "L": "Logs, errors, answers",
    "K": "API keys",
    "R": "Reliability",
    "INV": "Invariants",
    "RED": "Redirect URI corpus",
}


def rules() -> dict[str, Any]:
    """`kept` and `waiting`, as the file has them."""
    return tomllib.loads((DOCS / "security.toml").read_text(encoding="utf-8"))


def holders(text: str) -> list[tuple[str, str | None]]:
    """The files of a rule, each with the name in it or None."""
    found = (part.partition(":") for part in text.split())
    return [(file, name or None) for file, _, name in found]


def tests_of_rules(marks: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The tests of each rule."""
    found = defaultdict(set)
    for clause, test in marks:
        if RULE.fullmatch(clause):
            found[clause].add(test)
    return {rule: sorted(tests) for rule, tests in found.items()}


def security_page(marks: Iterable[tuple[str, str]]) -> str:
    """The page: what stands above the marker as it is, and the tables."""
    page = DOCS / "security.md"
    prose = page.read_text(encoding="utf-8").partition(MARKER)[0]
    tests, known = tests_of_rules(marks), rules()
    lines = [f"{prose}{MARKER}", ""]
    for family, title in FAMILIES.items():
        members = {rule: row for rule, row in known["kept"].items() if rule.partition("-")[0] == family}
        if members:
            lines += [f"### {title}", "", "| Rule | Threat | What holds | Where | Tests |", "|---|---|---|---|---|"]
            lines += [_row(rule, row, tests.get(rule, [])) for rule, row in members.items()]
            lines.append("")
    lines += ["## Rules that wait", "", "| Rule | What it asks for | What it waits for |", "|---|---|---|"]
    lines += [f"| {rule} | {asks} | {waits} |" for rule, (asks, waits) in known["waiting"].items()]
    return "\n".join([*lines, ""])


def _row(rule: str, row: list[str], tests: list[str]) -> str:
    threat, holds, where = row
    files = "<br>".join(f"`{file}`" + (f" `{name}`" if name else "") for file, name in holders(where))
    shown = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests)
    return f"| {rule} | {threat} | {holds} | {files} | {shown} |"
