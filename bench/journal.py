"""What a run has seen so far, on disk, so that a run that was ended goes on where it was."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.subject import Sample


@dataclass
class Results:
    """What came of a run."""

    samples: list[Sample] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)
    #: Why a subject's figures may be lower than Gatepost's, by operation.
    differs: dict[str, dict[str, str]] = field(default_factory=dict)
    #: The highest memory of each subject, in bytes, at the ends of the rounds.
    pss: dict[str, int] = field(default_factory=dict)
    #: What could not be measured, and why.
    absent: dict[str, str] = field(default_factory=dict)
    #: Memory of Gatepost before the endurance run and after each tenth of it, in bytes.
    growth: dict[str, list[int]] = field(default_factory=dict)
    postgres: str = ""
    #: Of the machine, over one minute.
    load_before: float = 0.0
    load_after: float = 0.0

    def has(self, subject: str, operation: str, number: int) -> bool:
        """Whether this cell of this round was measured."""
        cell = (subject, operation, number)
        return any((sample.subject, sample.operation, sample.round) == cell for sample in self.samples)

    def note_memory(self, subject: str, size: int) -> None:
        """Keeps the highest."""
        self.pss[subject] = max(size, self.pss.get(subject, 0))


class Journal:
    """One JSON object a line: first what was asked for, then each sample and each memory figure as it comes."""

    def __init__(self, path: Path | None, asked: str, *, resume: bool, results: Results) -> None:
        self._path, self._results = path, results
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if resume and path.exists():
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            if lines and lines[0] == {"asked": asked}:
                for line in lines[1:]:
                    self._take(line)
                return
        path.write_text(json.dumps({"asked": asked}) + "\n", encoding="utf-8")

    def sample(self, sample: Sample) -> None:
        """One cell of one round."""
        self._note({"sample": dataclasses.asdict(sample)})

    def memory(self, subject: str, size: int) -> None:
        """Memory of one subject at the end of a round."""
        self._note({"memory": [subject, size]})

    def growth(self, subject: str, sizes: list[int]) -> None:
        """Memory of one subject over the endurance run."""
        self._note({"growth": [subject, sizes]})

    def _note(self, line: dict[str, Any]) -> None:
        self._take(line)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _take(self, line: dict[str, Any]) -> None:
        if "sample" in line:
            self._results.samples.append(Sample(**line["sample"]))
        elif "memory" in line:
            self._results.note_memory(*line["memory"])
        else:
            subject, sizes = line["growth"]
            self._results.growth[subject] = sizes
