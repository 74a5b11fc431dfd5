"""The rings, the faces and the other import contracts are kept, and each is seen to break when it is violated."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.components import REPOSITORY

CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
}

VIOLATIONS = [
    ("rings", {"config.py": "import server.infra"}),
    ("rings", {"infra/planted.py": "import server.domain"}),
    ("rings", {"infra/planted.py": "import server.protocol"}),
    ("rings", {"domain/planted.py": "import server.protocol"}),
    ("rings", {"domain/planted.py": "def hide() -> None:\n    import server.web\n"}),
    ("rings", {"protocol/planted.py": "import server.web"}),
    ("rings", {"protocol/planted.py": "import server.cli"}),
    ("rings", {"web/planted.py": "import server.cli"}),
    ("rings", {"web/planted.py": "import server.app"}),
    ("rings", {"cli/planted.py": "import server.web"}),
    ("rings", {"cli/planted.py": "import server.app"}),
    ("rings", {"room_without_a_ring.py": ""}),
    ("faces", {"web/oauth/planted.py": "import server.web.interaction"}),
    ("faces", {"web/interaction/planted.py": "import server.web.oauth"}),
    ("faces", {"web/dev/planted.py": "import server.web.oauth"}),
    ("no-flask-below-web", {"protocol/planted.py": "import flask"}),
    ("no-flask-below-web", {"domain/planted.py": "import werkzeug.security"}),
    ("no-flask-below-web", {"domain/planted.py": "import flask_sqlalchemy"}),
    ("no-flask-below-web", {"infra/planted.py": "import jinja2"}),
    ("authlib-only-in-protocol", {"web/planted.py": "import authlib.oauth2"}),
    ("authlib-only-in-protocol", {"domain/planted.py": "import authlib.common.security"}),
    ("authlib-only-in-protocol", {"infra/planted.py": "import authlib.jose"}),
    ("pure-policy", {"domain/policy/planted.py": "import server.infra.clock"}),
    ("pure-policy", {"domain/policy/planted.py": "import sqlalchemy"}),
    (
        "no-cycles",
        {"domain/planted.py": "import server.domain.sown", "domain/sown.py": "import server.domain.planted"},
    ),
    (
        "no-cycles",
        {
            "protocol/grants/planted.py": "import server.protocol.sown",
            "protocol/sown.py": "import server.protocol.grants",
        },
    ),
]


def lint_imports(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
            "--no-cache",
            *options,
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_every_contract_is_kept() -> None:
    finished = lint_imports(REPOSITORY)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("contract", "planted"),
    VIOLATIONS,
    ids=[f"{contract}-{'+'.join(files)}-{i}" for i, (contract, files) in enumerate(VIOLATIONS)],
)
def test_contract_breaks_when_violated(contract: str, planted: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "server", tmp_path / "server", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    for name, line in planted.items():
        with (tmp_path / "server" / name).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    finished = lint_imports(tmp_path, "--contract", contract)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert f"{CONTRACTS[contract]} BROKEN" in " ".join(finished.stdout.split())


def test_every_contract_has_a_planted_violation() -> None:
    assert {contract for contract, _ in VIOLATIONS} == set(CONTRACTS)
