"""The quick-start programs of the dashboard, run as a newcomer would: saved from the page, and started.

curl and Python are always there; JavaScript and Go run where Node.js and Go are installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from html import unescape
from pathlib import Path

import pytest
import requests

from tests.interop.person import forms_of
from tests.interop.registry import Account, create_account
from tests.support.components import missing, node_path
from tests.support.servers import Server, start_server

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

LANGUAGES = ("curl", "python", "javascript", "go")
AT_ROOT = [("", language) for language in LANGUAGES]
#: The same programs where the issuer has a path.
EVERYWHERE = [*AT_ROOT, ("/auth/v1", "curl"), ("/auth/v1", "python")]
SENDING = ("client_secret_basic", "client_secret_post")
CALLBACKS = {
    "web": "http://localhost:9/callback",
    "spa": "http://localhost:9/it's%20here?and=$(this)&that;",
    "native": "com.example.app:/back",
}


@dataclass
class Developer:
    """Somebody in front of the dashboard."""

    server: Server
    account: Account
    browser: requests.Session
    home: str

    def register(self, kind: str, **fields: object) -> tuple[str, str]:
        """Registers an application in the dashboard; returns its client id and its secret, if it has one."""
        page = self.browser.get(f"{self.home}/applications/new/{kind}")
        form = next(each for each in forms_of(page.text) if each.has("application-create"))
        data = {**dict(form.hidden()), "client_name": f"A {kind} app", **fields}
        answer = self.browser.post(page.url, data=data)
        assert answer.ok, answer.text
        client_id = re.search(r'id="client-id">([^<]+)<', answer.text)
        secret = re.search(r'id="client-secret">([^<]+)<', answer.text)
        assert client_id is not None, answer.text
        return client_id[1], secret[1] if secret else ""

    def program(self, client_id: str, language: str) -> tuple[str, str]:
        """The name and the text of the program on the page."""
        page = self.browser.get(f"{self.home}/applications/{client_id}/quick-start?language={language}")
        name = re.search(r'id="code-heading"><code>([^<]+)<', page.text)
        code = re.search(r'<code id="snippet">(.*?)</code>', page.text, re.DOTALL)
        assert name is not None
        assert code is not None
        return name[1], unescape(code[1])


@pytest.fixture(scope="module")
def developer_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Developer]]:
    """The developer of one deployment for each issuer path, started when it is first asked for."""
    scopes = {"GATEPOST_SCOPES": json.dumps({"orders:read": "Read your orders"})}
    with ExitStack() as running:

        @cache
        def find(issuer_path: str) -> Developer:
            directory = tmp_path_factory.mktemp("quick-starts")
            server = start_server(directory, "serve", issuer_path=issuer_path, settings=scopes)
            return signed_in(running.enter_context(server))

        yield find


def signed_in(server: Server) -> Developer:
    """Somebody with an organization, at its dashboard."""
    account = create_account(server)
    slug = server.run_json("organizations", "create", "Works", "--owner", account.email)["slug"]
    browser = requests.Session()
    home = server.url(f"/dashboard/{slug}/live")
    page = browser.get(home)
    data = {**dict(forms_of(page.text)[0].hidden()), "username": account.email, "password": account.password}
    assert browser.post(server.url("/login"), data=data).url == home
    return Developer(server, account, browser, home)


@pytest.fixture
def developer(developer_at: Callable[[str], Developer], issuer_path: str) -> Developer:
    return developer_at(issuer_path)


def command(language: str, file: Path) -> list[str]:
    if language == "curl":
        return ["sh", str(file)]
    if language == "python":
        return [sys.executable, "-I", str(file)]
    if language == "javascript":
        return [str(node_path()), str(file)]
    go = shutil.which("go")
    if go is None:
        missing("Go is not installed")
    return [go, "run", str(file)]


def start(language: str, file: Path, secret: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "", **({"CLIENT_SECRET": secret} if secret else {})}
    return subprocess.Popen(
        command(language, file),
        cwd=file.parent,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def last_line(process: subprocess.Popen[str], typed: str = "") -> str:
    output, errors = process.communicate(typed, timeout=200)
    assert process.returncode == 0, output + errors
    return output.strip().splitlines()[-1]


@pytest.mark.parametrize(("issuer_path", "language"), EVERYWHERE)
@pytest.mark.parametrize("method", SENDING)
def test_machine_gets_a_token_for_itself(developer: Developer, tmp_path: Path, language: str, method: str) -> None:
    client_id, secret = developer.register("machine", permissions="orders:read", token_endpoint_auth_method=method)
    name, code = developer.program(client_id, language)
    assert secret not in code
    file = tmp_path / name
    file.write_text(code)
    told = json.loads(last_line(start(language, file, secret)))
    assert (told["active"], told["client_id"], told["scope"]) == (True, client_id, "orders:read")


def answer_of(developer: Developer, process: subprocess.Popen[str], redirect_uri: str) -> str:
    """What the browser is sent to when the person opens the address that the program prints."""
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Open this address")
    address = process.stdout.readline().strip()
    return developer.account.at_a_browser().walk(address, redirect_uri).url


@pytest.mark.parametrize(("issuer_path", "language"), EVERYWHERE)
@pytest.mark.parametrize("kind", ["web", "web-post", "spa", "native"])
def test_person_signs_in(developer: Developer, tmp_path: Path, language: str, kind: str) -> None:
    fields = {"token_endpoint_auth_method": "client_secret_post"} if kind == "web-post" else {}
    kind = kind.partition("-")[0]
    scopes = ["openid", "email", "profile"]
    client_id, secret = developer.register(kind, permissions=scopes, redirect_uris=CALLBACKS[kind], **fields)
    name, code = developer.program(client_id, language)
    file = tmp_path / name
    file.write_text(code)
    process = start(language, file, secret)
    told = json.loads(last_line(process, answer_of(developer, process, CALLBACKS[kind]) + "\n"))
    assert (told["sub"], told["email"]) == (developer.account.subject, developer.account.email)


@pytest.mark.parametrize(("issuer_path", "language"), AT_ROOT)
def test_program_stops_when_the_answer_is_another_requests(developer: Developer, tmp_path: Path, language: str) -> None:
    client_id, _ = developer.register("spa", permissions="openid", redirect_uris=CALLBACKS["web"])
    name, code = developer.program(client_id, language)
    file = tmp_path / name
    file.write_text(code)
    process = start(language, file, "")
    output, errors = process.communicate(f"{CALLBACKS['web']}?code=cod_x&state=other&iss={developer.server.issuer}\n")
    assert process.returncode != 0
    assert "another request" in output + errors or "not ours" in output + errors


@pytest.mark.parametrize(("issuer_path", "language"), AT_ROOT)
def test_application_without_openid_gets_its_token(developer: Developer, tmp_path: Path, language: str) -> None:
    client_id, _ = developer.register("spa", permissions="orders:read", redirect_uris=CALLBACKS["web"])
    name, code = developer.program(client_id, language)
    file = tmp_path / name
    file.write_text(code)
    process = start(language, file, "")
    assert last_line(process, answer_of(developer, process, CALLBACKS["web"]) + "\n").count(".") == 2
