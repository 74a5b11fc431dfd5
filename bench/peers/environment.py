"""Virtual environments for peers in Python, below var/bench."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench import load
from tests.support.components import REPOSITORY


def install(name: str, requirements: Path, log: Path) -> str:
    """Makes the virtual environment, unless it is there; returns its Python.

    Raises:
        LoadFailed: when the packages are not to be had.
    """
    folder = REPOSITORY / "var" / "bench" / name
    python, made_from = folder / "bin" / "python", folder / ".made-from"
    wanted = requirements.read_text() + sys.version
    if made_from.exists() and made_from.read_text() == wanted:
        return str(python)
    make = [sys.executable, "-m", "venv", "--clear", str(folder)]
    fill = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(requirements)]
    with log.open("ab") as output:
        for command in (make, fill):
            if subprocess.run(command, stdout=output, stderr=output, check=False).returncode:
                raise load.LoadFailed(f"its packages could not be installed: {log.read_text(errors='replace')[-500:]}")
    made_from.write_text(wanted)
    return str(python)


def pins(requirements: Path) -> dict[str, str]:
    """The pinned versions by package."""
    return dict(line.split("==") for line in requirements.read_text().splitlines() if "==" in line)
