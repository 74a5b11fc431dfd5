"""A report says whose build of Python it measured."""

from __future__ import annotations

import platform
import sys

import pytest

from bench import interpreter


def test_build_of_a_distribution_is_named_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"})
    assert interpreter.describe() == f"Python {platform.python_version()} of Debian GNU/Linux 12 (bookworm)"


def test_distribution_without_a_name_costs_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> dict[str, str]:
        raise FileNotFoundError

    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(platform, "freedesktop_os_release", missing)
    assert interpreter.describe() == f"Python {platform.python_version()} of a distribution without a name"


def test_other_build_is_told_apart_and_its_folder_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/opt/python")
    assert interpreter.describe() == f"Python {platform.python_version()}, not the distribution's"
