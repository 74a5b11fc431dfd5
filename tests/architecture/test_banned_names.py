"""Clock, randomness, outbound HTTP and settings each have one room; ruff refuses them everywhere else."""

import subprocess
import sys

import pytest

from tests.support.components import REPOSITORY
from tests.support.source import relative, server_files

CLOCK = "use infra.clock"
SECRETS = "use infra.secrets"
OUTBOUND = "outbound only through infra.outbound_http"
SETTINGS = "use Settings"

PLANTED = [
    ("from datetime import UTC, datetime\nnow = datetime.now(UTC)\n", CLOCK, "server/infra/clock.py"),
    ("from datetime import datetime\nnow = datetime.utcnow()\n", CLOCK, "server/infra/clock.py"),
    ("import datetime\nnow = datetime.datetime.today()\n", CLOCK, "server/infra/clock.py"),
    ("import time\nnow = time.time()\n", CLOCK, "server/infra/clock.py"),
    ("import random\nnumber = random.random()\n", SECRETS, "server/infra/secrets.py"),
    ("from uuid import uuid4\nidentifier = uuid4()\n", SECRETS, "server/infra/secrets.py"),
    ("import requests\nanswer = requests.get\n", OUTBOUND, "server/infra/outbound_http.py"),
    ("from urllib.request import urlopen\nopener = urlopen\n", OUTBOUND, "server/infra/outbound_http.py"),
    ("import urllib3\npool = urllib3.PoolManager()\n", OUTBOUND, "server/infra/outbound_http.py"),
    ("import os\nhome = os.environ['HOME']\n", SETTINGS, "server/config.py"),
    ("import os\nhome = os.getenv('HOME')\n", SETTINGS, "server/config.py"),
]


def findings(code: str, pretended_path: str) -> str:
    """What ruff's banned-api rule says about code as if it stood at that path."""
    finished = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--no-cache",
            "--select",
            "TID251",
            "--stdin-filename",
            pretended_path,
            "-",
        ],
        cwd=REPOSITORY,
        input=code,
        capture_output=True,
        text=True,
    )
    assert finished.returncode in {0, 1}, finished.stderr
    return finished.stdout if finished.returncode else ""


@pytest.mark.parametrize(("code", "message", "owner"), PLANTED, ids=[code.splitlines()[-1] for code, _, _ in PLANTED])
def test_banned_name_is_refused_except_in_the_room_that_owns_it(code: str, message: str, owner: str) -> None:
    for place in (
        "server/web/planted.py",
        "server/protocol/planted.py",
        "server/domain/planted.py",
        "server/cli/planted.py",
    ):
        assert message in findings(code, place)
    assert findings(code, owner) == ""


def test_no_file_silences_the_ban() -> None:
    silenced = [relative(path) for path in server_files() if "noqa: TID251" in path.read_text("utf-8")]
    assert silenced == []
