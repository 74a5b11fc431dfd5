"""Figures of a long run, kept as JSON where `docs/trust.md` takes them from."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.support.components import REPOSITORY

RESULTS = REPOSITORY / "var" / "results"


def keep(name: str, promise: str, figures: Mapping[str, object], command: str) -> None:
    """Writes `var/results/NAME.json` and prints the figures."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {"promise": promise, "figures": dict(figures), "command": command}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    print(promise)
    for label, value in figures.items():
        print(f"  {label}: {value}")
