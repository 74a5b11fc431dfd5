"""The wheel is whole: installed into a clean environment, it serves from an empty folder."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.components import REPOSITORY
from tests.support.documented_commands import CURL
from tests.support.ports import free_port
from tests.support.servers import Server, clean_environment, running

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (built,) = directory.glob("gatepost-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `gatepost` of a clean environment that knows nothing of the checkout."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, with_pip=True)
    for arguments in (["--require-hashes", "-r", REPOSITORY / "requirements.lock"], ["--no-deps", wheel]):
        subprocess.run([directory / "bin" / "python", "-m", "pip", "install", "-q", *arguments], check=True)
    return directory / "bin" / "gatepost"


def test_wheel_carries_pages_styles_and_migrations_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    for folder, inside in (
        ("templates", "server/templates"),
        ("migrations", "server/migrations"),
        ("server", "server"),
    ):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"{inside}/{path.relative_to(REPOSITORY / folder).as_posix()}" in names
    assert {name.split("/")[0] for name in names} == {"server"}


def test_installed_wheel_serves_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    port = free_port()
    environment = clean_environment()
    del environment["PYTHONPATH"]
    work = tmp_path / "empty"
    work.mkdir()
    server = Server(
        directory=work,
        environment=environment,
        program=(os.fspath(installed),),
        issuer=f"http://localhost:{port}",
        port=port,
        log=tmp_path / "server.log",
    )
    with running(server, "dev", "--port", str(port)):
        pasted = CURL.search(server.log.read_text())
        assert pasted, server.log_tail()
        answer = subprocess.run(["bash", "-c", pasted[1]], capture_output=True, text=True, check=True)
        assert json.loads(answer.stdout)["access_token"]
        with urlopen(f"http://127.0.0.1:{port}/dev/try") as page:
            assert page.status == 200
            assert b"/static/" in page.read()
