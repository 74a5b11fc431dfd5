"""Where pages and migrations lie: inside the package when it was installed, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.infra import resources


def test_templates_static_files_and_migrations_are_found_in_a_checkout() -> None:
    assert (resources.TEMPLATES / "interaction" / "login.html").is_file()
    assert any(resources.STATIC.glob("*.css"))
    assert (resources.MIGRATIONS / "env.py").is_file()


def test_folder_inside_the_package_wins_when_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "server"
    (package / "templates").mkdir(parents=True)
    (tmp_path / "site-packages" / "templates").mkdir()
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resources._locate("templates") == package / "templates"
    assert resources._locate("migrations") == tmp_path / "site-packages" / "migrations"
