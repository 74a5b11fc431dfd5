"""Do the tests notice when the code is wrong? `python -m tests.mutation [MODULE …]` tells, with the survivors.

mutmut changes one thing at a time in the modules below, in a copy of the checkout, and runs the tests that come by
there. A mutant that no test notices is a survivor. What is known of survivors stands in `docs/testing.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mutmut.stats import status_by_exit_code

from tests.properties.results import keep
from tests.support.components import REPOSITORY

COPIED = ("server", "tests", "templates", "migrations")
#: What a mutant may end as, and be noticed.
NOTICED = frozenset({"killed", "timeout", "segfault", "caught by type check"})


ENOUGH = 0.9


@dataclass(frozen=True)
class Module:
    """A module and the tests that are about it."""

    path: str
    tests: tuple[str, ...]


MODULES = {
    "redirect_uris": Module("server/domain/redirect_uris.py", ("tests/domain/test_redirect_uris.py",)),
    "pkce": Module(
        "server/protocol/pkce.py",
        ("tests/properties/test_refusals.py", "tests/protocol/grants/test_authorization_code.py"),
    ),
    "refresh_rotation": Module(
        "server/domain/refresh_rotation.py",
        ("tests/domain/test_refresh_rotation.py", "tests/protocol/grants/test_refresh_token.py"),
    ),
    "client_secrets": Module(
        "server/domain/client_secrets.py",
        (
            "tests/domain/test_client_secrets.py",
            "tests/mutation/test_survivors.py",
            "tests/protocol/client_authentication/test_client_secret.py",
        ),
    ),
    "checks": Module(
        "server/protocol/authorization/checks.py",
        ("tests/properties/test_refusals.py", "tests/protocol/authorization/test_checks.py"),
    ),
    "response_modes": Module(
        "server/protocol/authorization/response_modes.py",
        ("tests/properties/test_refusals.py", "tests/protocol/authorization/test_response_modes.py"),
    ),
}


def copy_checkout(target: Path, chosen: dict[str, Module]) -> None:
    """Copies what the tests need, and says in `setup.cfg` what is to be mutated."""
    unwanted = shutil.ignore_patterns("__pycache__", ".hypothesis", "node_modules")
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, target / name, ignore=unwanted)
    shutil.copy(REPOSITORY / "pyproject.toml", target)
    tests = sorted({each for module in chosen.values() for each in module.tests if (REPOSITORY / each).exists()})
    lines = ["[mutmut]", "source_paths=server/", "also_copy=", *(f"  {name}" for name in (*COPIED, "pyproject.toml"))]
    lines += ["only_mutate=", *(f"  {module.path}" for module in chosen.values())]
    lines += ["pytest_add_cli_args_test_selection=", *(f"  {each}" for each in tests)]
    lines += ["pytest_add_cli_args=", "  -p", "  no:randomly"]
    (target / "setup.cfg").write_text("\n".join(lines) + "\n")


def mutmut(folder: Path, *arguments: str) -> str:
    """Runs a command of mutmut in the copy; what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEPOST_")}
    finished = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    if finished.returncode != 0:
        raise SystemExit(f"mutmut {' '.join(arguments)} failed\n{finished.stdout[-3000:]}{finished.stderr[-3000:]}")
    return finished.stdout


def statuses(folder: Path, module: Module) -> dict[str, str]:
    """How each mutant of a module ended."""
    document = json.loads((folder / "mutants" / f"{module.path}.meta").read_text())
    return {name: status_by_exit_code[code] for name, code in document["exit_code_by_key"].items()}


def second_look(folder: Path, module: Module, mutant: str) -> str:
    """What becomes of a survivor in a process of its own: there it is at work while modules are imported, too."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEPOST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider", *module.tests]
    finished = subprocess.run(
        command, cwd=folder / "mutants", env={**environment, "MUTANT_UNDER_TEST": mutant}, capture_output=True
    )
    return "survived" if finished.returncode == 0 else "killed"


def tell(folder: Path, chosen: dict[str, Module]) -> dict[str, object]:
    """Prints the survivors of each module with what was changed; the scores, and how many are too low."""
    scores: dict[str, object] = {}
    too_low = 0
    for name, module in chosen.items():
        found = {
            mutant: status if status in NOTICED else second_look(folder, module, mutant)
            for mutant, status in statuses(folder, module).items()
        }
        noticed = sum(status in NOTICED for status in found.values())
        too_low += noticed / len(found) < ENOUGH
        scores[name] = f"{noticed / len(found):.1%} of {len(found)} mutants noticed"
        print(f"{name}: {scores[name]} {dict(Counter(found.values()))}")
        for mutant in (mutant for mutant, status in found.items() if status not in NOTICED):
            changed = mutmut(folder, "show", mutant).splitlines()
            print(
                "\n".join(
                    ["", f"  {mutant}: {found[mutant]}", *(f"    {line}" for line in changed if _is_change(line))]
                )
            )
    return {**scores, "broken promises": too_low}


def _is_change(line: str) -> bool:
    return line.startswith(("-", "+")) and not line.startswith(("---", "+++"))


def main() -> None:
    """Mutates what the command line names, or all of it."""
    parser = argparse.ArgumentParser("python -m tests.mutation", description=__doc__)
    parser.add_argument("module", nargs="*", choices=[*MODULES, []], help=", ".join(MODULES))
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    chosen = {name: MODULES[name] for name in arguments.module or MODULES}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gatepost-mutants-") as folder:
        copy_checkout(Path(folder), chosen)
        mutmut(Path(folder), "run", "--max-children", str(arguments.processes))
        scores = tell(Path(folder), chosen)
    figures = {**scores, "seconds": round(time.monotonic() - started)}
    if chosen.keys() == MODULES.keys():
        keep("mutation", "The tests notice when what they guard is wrong", figures, "python -m tests.mutation")


if __name__ == "__main__":
    main()
