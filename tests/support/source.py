"""The project's own files as the architecture tests look at them."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.components import REPOSITORY, missing

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    """A function or method of `server/`."""

    path: str
    name: str
    node: FunctionNode

    @property
    def place(self) -> str:
        """File and dotted name, as failures and exception lists spell it."""
        return f"{self.path}::{self.name}"

    @property
    def lines(self) -> int:
        """Lines from `def` to the end; decorators and the docstring are not counted."""
        total = (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1
        first = self.node.body[0]
        if ast.get_docstring(self.node) is not None:
            total -= (first.end_lineno or first.lineno) - first.lineno + 1
        return total

    @property
    def parameters(self) -> list[ast.arg]:
        """All parameters but the bound one."""
        arguments = self.node.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        starred = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
        return [each for each in named if each.arg not in {"self", "cls", "mcs"}] + starred


def server_files() -> list[Path]:
    """Every Python file of the package, sorted."""
    return sorted(path for path in (REPOSITORY / "server").rglob("*.py") if "__pycache__" not in path.parts)


def relative(path: Path) -> str:
    """The path as the repository spells it, with forward slashes."""
    return path.relative_to(REPOSITORY).as_posix()


@cache
def server_functions() -> tuple[Function, ...]:
    """Every function and method of the package, nested ones included."""
    return tuple(function for path in server_files() for function in _functions(path))


def _functions(path: Path) -> Iterator[Function]:
    def walk(node: ast.AST, prefix: str) -> Iterator[Function]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, FunctionNode):
                yield Function(relative(path), f"{prefix}{child.name}", child)
                yield from walk(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, f"{prefix}{child.name}.")
            else:
                yield from walk(child, prefix)

    return walk(ast.parse(path.read_text("utf-8")), "")


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file that git tracks; ends the test when this is no git checkout."""
    if not (REPOSITORY / ".git").exists():
        missing("not a git checkout, so there are no tracked files to look at")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    return tuple(path for name in listed if name and (path := REPOSITORY / name).is_file())
