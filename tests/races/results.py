"""Where a run leaves its figures, so that `docs/trust.md` is written from runs and never by hand."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "trust.json"

Figures = dict[str, object]


def record(name: str, figures: Figures, broken: int | str, **more: object) -> None:
    """Replaces what the last run of this name left."""
    results = load()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.strip()
    results[name] = {
        "figures": figures,
        "broken": broken,
        **more,
        "on": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit,
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
    }
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def load() -> dict[str, dict[str, object]]:
    """What all runs left, by name."""
    if not RESULTS.exists():
        return {}
    found: dict[str, dict[str, object]] = json.loads(RESULTS.read_text())
    return found


def conclude(name: str, figures: Figures, faults: list[str], *, is_recorded: bool) -> int:
    """Prints a run's figures and faults, records them when asked to, and returns the exit status."""
    width = max(len(label) for label in figures)
    print("\n".join(f"  {label:<{width}}  {shown(value)}" for label, value in figures.items()))
    for fault in faults[:20]:
        print(f"  BROKEN {fault}")
    if len(faults) > 20:
        print(f"  … and {len(faults) - 20} more")
    print(f"{name}: {'broken' if faults else 'every promise kept'}", flush=True)
    if is_recorded:
        record(name, figures, len(faults))
    return 1 if faults else 0


def shown(value: object) -> str:
    """A figure as people read it."""
    if isinstance(value, dict):
        return ", ".join(f"{shown(count)} × {label}" for label, count in value.items()) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
