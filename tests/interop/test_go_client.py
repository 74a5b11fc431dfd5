"""An app written in Go, with go-oidc and x/oauth2, against a live Gatepost.

Go is the one component that is not asked for: where it is missing or too old, these tests skip with the reason, in CI
too, because no distribution that Gatepost runs on carries a recent one.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.interop.apps import running_app
from tests.interop.person import Callback, Person
from tests.interop.registry import SCOPE, Account, create_client
from tests.support.ports import free_port
from tests.support.servers import Server

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

SOURCE = Path(__file__).parent / "go"


def _versions(text: str, pattern: str) -> tuple[int, ...]:
    found = re.search(pattern, text, re.MULTILINE)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


@pytest.fixture(scope="session")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app, built from exactly the modules that go.sum names."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed")
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    installed = _versions(subprocess.check_output([go, "version"], env=environment, text=True), r"go([0-9.]+)")
    wanted = _versions((SOURCE / "go.mod").read_text(), r"^go ([0-9.]+)$")
    if installed < wanted:
        pytest.skip(f"Go is {installed}, and its OpenID modules want {wanted}")
    program = tmp_path_factory.mktemp("go") / "app"
    build = [go, "build", "-o", str(program), "."]
    finished = subprocess.run(build, cwd=SOURCE, env=environment, capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr
    return program


@dataclass
class App:
    """The app, and how a person gets around in it."""

    origin: str
    log: Path

    def walk(self, person: Person, *presses: str, prompt: str = "") -> Callback:
        """The way up to the callback, which is not opened yet."""
        return person.walk(f"{self.origin}/sign-in?prompt={prompt}", f"{self.origin}/callback", presses=presses)

    def report(self, answer: requests.Response, status: int = 200) -> dict[str, Any]:
        assert answer.status_code == status, f"{answer.text}\n{self.log.read_text()}"
        document: dict[str, Any] = answer.json()
        return document

    def refresh(self, token: str, status: int = 200) -> dict[str, Any]:
        answer = requests.post(f"{self.origin}/refresh", data={"refresh_token": token}, timeout=30)
        return self.report(answer, status)


@pytest.fixture(scope="session", params=["web", "native"])
def go_app(
    request: pytest.FixtureRequest, gatepost: Server, go_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    """The app as one with a secret, and as one on somebody's computer that has none and takes whatever port is free."""
    port = free_port()
    registered = port if request.param == "web" else 80
    client = create_client(gatepost, request.param, redirect_uri=f"http://127.0.0.1:{registered}/callback")
    machine = gatepost.run_json("clients", "create", "Nightly export", "--type", "machine")
    settings = {
        "address": f"127.0.0.1:{port}",
        "issuer": gatepost.issuer,
        "client_id": client.client_id,
        "client_secret": client.client_secret,
        "scopes": SCOPE.split(),
        "machine_id": machine["client_id"],
        "machine_secret": machine["client_secret"],
    }
    origin = f"http://127.0.0.1:{port}"
    directory = tmp_path_factory.mktemp("go-app")
    with running_app([str(go_program)], origin, directory, stdin=json.dumps(settings)) as log:
        yield App(origin, log)


def test_go_app_knows_the_person_when_they_sign_in(go_app: App, account: Account) -> None:
    person = account.at_a_browser()
    report = go_app.report(person.request("GET", go_app.walk(person).url))
    assert report["subject"] == report["userinfo_subject"] == account.subject
    assert report["email"] == account.email
    assert report["type"] == "Bearer"
    assert 0 < report["seconds"] <= 3600


@pytest.mark.spec("RFC 9700 §4.14.2")
def test_go_app_gets_new_tokens_when_its_token_source_finds_the_old_ones_out_of_date(
    go_app: App, account: Account
) -> None:
    person = account.at_a_browser()
    first = go_app.report(person.request("GET", go_app.walk(person).url))
    second = go_app.refresh(first["refresh_token"])
    assert second["subject"] == second["userinfo_subject"] == account.subject
    assert second["access_token"] != first["access_token"]
    third = go_app.refresh(second["refresh_token"])
    assert len({each["refresh_token"] for each in (first, second, third)}) == 3
    assert go_app.refresh(first["refresh_token"], status=400)["error"] == "invalid_grant"
    assert go_app.refresh(third["refresh_token"], status=400)["error"] == "invalid_grant"


@pytest.mark.spec("RFC 6749 §4.1.2.1")
@pytest.mark.spec("RFC 9207 §2")
def test_go_app_reads_access_denied_with_iss_when_the_person_declines(go_app: App, account: Account) -> None:
    person = account.at_a_browser()
    callback = go_app.walk(person, "consent-deny", prompt="consent")
    # The app compares `iss` with its issuer before it looks at anything else.
    assert go_app.report(person.request("GET", callback.url), 403) == {"error": "access_denied"}


@pytest.mark.spec("RFC 6749 §4.1.2")
def test_go_app_reads_invalid_grant_when_the_code_is_not_genuine(go_app: App, account: Account) -> None:
    person = account.at_a_browser()
    parameters = {**go_app.walk(person).parameters, "code": "forged"}
    forged = requests.Request("GET", f"{go_app.origin}/callback", params=parameters).prepare()
    assert go_app.report(person.request("GET", str(forged.url)), 400)["error"] == "invalid_grant"


def test_go_app_gets_a_token_when_it_asks_for_itself(go_app: App) -> None:
    token = go_app.report(requests.post(f"{go_app.origin}/machine", timeout=30))
    assert token["type"] == "Bearer"
    assert token["access_token"]
    assert token["refresh_token"] == ""
