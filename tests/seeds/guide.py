"""One product's guide: its deployment as docs/profiles shows it, and its dashboard as developers click through it."""

import re
import secrets
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

from tests.interop.person import Callback, Person, challenge_of, forms_of
from tests.interop.registry import Account, create_account
from tests.support.components import REPOSITORY
from tests.support.documented_commands import commands
from tests.support.servers import Server, start_server

#: What every deployment says for itself, and the tests say otherwise.
OF_THE_FOLDER = {"GATEPOST_DATABASE_URL", "GATEPOST_KEYS_DIR"}
PATIENCE_SECONDS = 30


def settings_of(profile: str) -> dict[str, str]:
    """The settings that the profile's page exports before its server starts."""
    exported: dict[str, str] = {}
    for command in commands(REPOSITORY / "docs" / "profiles" / f"{profile}.md"):
        if command == "gatepost serve":
            break
        if command.startswith("export "):
            exported |= dict(word.split("=", 1) for word in shlex.split(command)[1:])
    return {name: value for name, value in exported.items() if name not in OF_THE_FOLDER}


@dataclass
class Guide:
    """A running deployment, its first developer, and their organization."""

    server: Server
    developer: Account
    organization: str
    http: requests.Session = field(default_factory=requests.Session)

    def url(self, path: str) -> str:
        """An address of the deployment."""
        return self.server.url(path)

    def get(self, path: str, credential: str | None = None, **headers: str) -> requests.Response:
        """GET as the guides write it, with `Authorization: Bearer`."""
        return self.send("GET", path, credential, headers=headers)

    def send(
        self,
        method: str,
        path: str,
        credential: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> requests.Response:
        """Any request with the credential as Bearer."""
        bearer = {} if credential is None else {"Authorization": f"Bearer {credential}"}
        return self.http.request(
            method,
            self.url(path),
            headers={**bearer, **(headers or {})},
            timeout=PATIENCE_SECONDS,
            **body,
        )

    @cached_property
    def dashboard(self) -> "Dashboard":
        """The dashboard, with the developer signed in."""
        return Dashboard(self, self.developer.at_a_browser())

    def authorize(self, client_id: str, redirect_uri: str, scope: str, verifier: str) -> Callback:
        """Sends the developer through the authorization code flow, and they allow it."""
        parameters = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "scope": scope,
            "state": secrets.token_hex(8),
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        start = str(requests.Request("GET", self.url("/oauth/authorize"), params=parameters).prepare().url)
        callback = self.developer.at_a_browser().walk(start, redirect_uri)
        assert callback.parameters["state"] == parameters["state"]
        return callback


@dataclass
class Dashboard:
    """The developer's dashboard, clicked through without JavaScript."""

    guide: Guide
    person: Person

    def create_key(
        self,
        name: str,
        permissions: Sequence[str] = (),
        *,
        patterns: Sequence[str] = (),
        kind: str = "standard",
        environment: str = "live",
        rate_limit: str = "",
    ) -> str:
        """API keys → Create key; returns the key from the page that shows it once."""
        fields: dict[str, str | list[str]] = {
            "name": name,
            "description": "",
            "kind": kind,
            "permissions": list(permissions),
            "patterns": "\n".join(patterns),
            "expires": "90",
            "ip_allow_list": "",
            "rate_limit_per_minute": rate_limit,
        }
        page = self._fill(f"{environment}/api-keys/new", fields)
        return _element(page.text, "api-key")

    def register_application(self, kind: str, name: str, scopes: Sequence[str], **typed: str) -> tuple[str, str]:
        """Applications → New; returns client id and secret."""
        fields: dict[str, str | list[str]] = {"client_name": name, "permissions": list(scopes), "patterns": "", **typed}
        page = self._fill(f"live/applications/new/{kind}", fields)
        return _element(page.text, "client-id"), _element(page.text, "client-secret")

    def text(self, path: str) -> str:
        """What a page of the organization says."""
        return re.sub(r"<[^>]+>", " ", unescape(self.open(path).text))

    def open(self, path: str) -> requests.Response:
        """A page of the organization, signing in first where that is asked for."""
        url = self.guide.url(f"/dashboard/{self.guide.organization}/{path}")
        answer = self.person.request("GET", url)
        while answer.status_code in (302, 303):
            url = urljoin(url, answer.headers["Location"])
            answer = self.person.request("GET", url)
            form = next((form for form in forms_of(answer.text) if form.has("login-submit")), None)
            if form is not None:
                account = self.guide.developer
                url, answer = self.person.submit(
                    url, form, "login-submit", username=account.email, password=account.password
                )
        assert answer.status_code == 200, answer.text
        return answer

    def _fill(self, path: str, fields: dict[str, "str | list[str]"]) -> requests.Response:
        """Opens a form, fills it in, sends it, and returns the page that follows."""
        page = self.open(path)
        form = next(form for form in forms_of(page.text) if form.has("name") or form.has("client_name"))
        radios = [each for each in form.inputs if each.get("type") == "radio" and "checked" in each]
        chosen = {each["name"]: each.get("value", "") for each in radios}
        target = urljoin(page.url, form.action)
        answer = self.person.request("POST", target, data={**dict(form.hidden()), **chosen, **fields})
        if answer.status_code == 303:
            answer = self.person.request("GET", urljoin(target, answer.headers["Location"]))
        assert answer.status_code in (200, 201), re.sub(r"<[^>]+>", " ", answer.text)
        return answer


def _element(html: str, element_id: str) -> str:
    """The text of the element with this id."""
    found = re.search(rf'id="{element_id}"[^>]*>([^<]+)<', html)
    assert found, re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    return unescape(found[1])


@contextmanager
def running_guide(profile: str, directory: Path) -> Iterator[Guide]:
    """A deployment with the profile's settings, as its operator sets it up."""
    with start_server(directory, "serve", workers=2, settings=settings_of(profile)) as server:
        developer = create_account(server)
        made = server.run_json("organizations", "create", "Acme", "--owner", developer.email)
        yield Guide(server, developer, made["slug"])
