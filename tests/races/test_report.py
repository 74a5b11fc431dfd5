"""The page of figures is made of what runs left, and of nothing else."""

import json
from pathlib import Path

import pytest

from tests.races import report, results


def test_page_is_what_the_results_say_when_it_is_committed() -> None:
    assert report.main(["--check"]) == 0


def test_page_is_old_when_the_results_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = tmp_path / "trust.json"
    changed.write_text(json.dumps({"sqlite": {"figures": {"threads": 1234}, "broken": 0} | _CIRCUMSTANCES}))
    monkeypatch.setattr(results, "RESULTS", changed)
    assert report.main(["--check"]) == 1
    assert "| threads | 1,234 |" in report.page()


def test_figures_are_kept_by_name_when_runs_are_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "trust.json")
    assert results.conclude("one", {"things": 2}, [], is_recorded=True) == 0
    assert results.conclude("two", {"things": 3}, ["a promise"], is_recorded=True) == 1
    assert results.conclude("three", {"things": 4}, [], is_recorded=False) == 0
    assert {name: kept["broken"] for name, kept in results.load().items()} == {"one": 0, "two": 1}


def test_other_runs_have_their_sections_when_they_left_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "trust.json")
    left = {"promise": "Nothing burns.", "figures": {"fires": 0, "broken promises": 0}, "command": "make trust-fire"}
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "under-fire.json").write_text(json.dumps(left))
    report.collect(tmp_path / "left")
    assert "| Under fire |  | 0 | `make trust-fire` |" in report.page()
    assert "## Under fire\n\nNothing burns.\n\n`make trust-fire`\n" in report.page()


_CIRCUMSTANCES = {"on": "2026-11-22", "commit": "abc", "machine": "2 cores"}
