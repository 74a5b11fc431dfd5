"""Auth.js in a real Express app against a live Gatepost: its own pages, its cookies, its checks."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests

from tests.interop.apps import running_app
from tests.interop.person import Callback, Person, forms_of
from tests.interop.registry import SCOPE, Account, RegisteredClient, create_client
from tests.support.components import node_path
from tests.support.ports import free_port
from tests.support.servers import Server

pytestmark = pytest.mark.interop

BY_ID_TOKEN, BY_USERINFO = "gatepost", "gatepost-lean"


@dataclass
class App:
    """The app, and how a person gets around in it."""

    origin: str
    log: Path

    def callback_uri(self, provider: str) -> str:
        return f"{self.origin}/auth/callback/{provider}"

    def press(self, person: Person, page: str, action: str) -> requests.Response:
        """Opens a page of Auth.js and sends the form on it that goes to `action`."""
        answer = person.request("GET", f"{self.origin}{page}")
        assert answer.status_code == 200, answer.text
        form = next(each for each in forms_of(answer.text) if urlsplit(each.action).path == action)
        return person.request("POST", urljoin(answer.url, form.action), data=form.hidden())

    def leave_to_sign_in(self, person: Person, provider: str = BY_ID_TOKEN) -> str:
        """Presses "Sign in with Gatepost"; returns the authorization request."""
        answer = self.press(person, "/auth/signin", f"/auth/signin/{provider}")
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def walk(self, person: Person, provider: str = BY_ID_TOKEN, *presses: str, **extra: str) -> Callback:
        """The way up to the callback, which is not opened yet."""
        url = self.leave_to_sign_in(person, provider)
        url += "".join(f"&{name}={value}" for name, value in extra.items())
        return person.walk(url, self.callback_uri(provider), presses=presses)

    def sign_in(self, person: Person, provider: str = BY_ID_TOKEN) -> dict[str, Any]:
        """The whole way; returns the app's session."""
        answer = person.request("GET", self.walk(person, provider).url)
        assert answer.status_code == 302, self.log.read_text()
        assert "error" not in answer.headers["Location"], self.log.read_text()
        return self.session(person)

    def session(self, person: Person) -> Any:
        """What the app's pages know of the person; None when nobody is signed in."""
        return person.request("GET", f"{self.origin}/auth/session").json()

    def update(self, person: Person) -> Any:
        """What a page does to have the session made anew."""
        token = person.request("GET", f"{self.origin}/auth/csrf").json()["csrfToken"]
        return person.request("POST", f"{self.origin}/auth/session", json={"csrfToken": token, "data": {}}).json()


@pytest.fixture(scope="session")
def authjs(gatepost: Server, node_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One app with two ways in: the person read from the ID token, and from userinfo."""
    port = free_port()
    origin = f"http://127.0.0.1:{port}"

    def provider(name: str, *options: str, id_token: bool) -> dict[str, Any]:
        redirect_uri = f"{origin}/auth/callback/{name}"
        client: RegisteredClient = create_client(gatepost, "web", *options, redirect_uri=redirect_uri)
        credentials = {"client_id": client.client_id, "client_secret": client.client_secret}
        return {"id": name, "id_token": id_token, **credentials}

    settings = {
        "port": port,
        "secret": secrets.token_urlsafe(32),
        "issuer": gatepost.issuer,
        "scope": SCOPE,
        "providers": [
            provider(BY_ID_TOKEN, id_token=True),
            provider(BY_USERINFO, "--id-token-claims", "lean", id_token=False),
        ],
    }
    command = [str(node_path()), str(node_project / "authjs_app.mjs")]
    directory = tmp_path_factory.mktemp("authjs")
    with running_app(command, origin, directory, stdin=json.dumps(settings)) as log:
        yield App(origin, log)


@pytest.mark.parametrize("provider", [BY_ID_TOKEN, BY_USERINFO])
def test_authjs_knows_the_person_when_they_sign_in(authjs: App, account: Account, provider: str) -> None:
    session = authjs.sign_in(account.at_a_browser(), provider)
    assert session["user"] == {"name": "Ada Lovelace", "email": account.email, "image": session["user"]["image"]}
    assert session["sub"] == account.subject
    assert "error" not in session


def test_authjs_asks_with_pkce_state_and_nonce_when_the_person_leaves_to_sign_in(
    authjs: App, account: Account, gatepost: Server
) -> None:
    url = authjs.leave_to_sign_in(account.at_a_browser())
    assert url.startswith(gatepost.url("/oauth/authorize?"))
    query = parse_qs(urlsplit(url).query)
    assert query["code_challenge_method"] == ["S256"]
    assert {"code_challenge", "state", "nonce"} <= set(query)


def test_authjs_keeps_its_tokens_fresh_when_the_session_is_made_anew(
    authjs: App, account: Account, gatepost: Server
) -> None:
    person = account.at_a_browser()
    sessions = [authjs.sign_in(person), authjs.update(person), authjs.update(person)]
    assert ["error" in session for session in sessions] == [False] * 3
    for name in ("access_token", "refresh_token"):
        assert len({session[name] for session in sessions}) == 3, f"every {name} must be a new one"
    bearer = {"Authorization": f"Bearer {sessions[-1]['access_token']}"}
    assert requests.get(gatepost.url("/oauth/userinfo"), headers=bearer, timeout=10).json()["sub"] == account.subject


@pytest.mark.spec("RFC 6749 §4.1.2.1")
@pytest.mark.spec("RFC 9207 §2")
def test_authjs_signs_nobody_in_when_the_person_declines(authjs: App, account: Account, gatepost: Server) -> None:
    person = account.at_a_browser()
    callback = authjs.walk(person, BY_ID_TOKEN, "consent-deny", prompt="consent")
    assert callback.parameters["error"] == "access_denied"
    assert callback.parameters["iss"] == gatepost.issuer
    answer = person.request("GET", callback.url)
    # Auth.js logs an answer whose `iss` is missing or wrong as another kind of error.
    assert "error=OAuthCallbackError" in answer.headers["Location"]
    assert authjs.session(person) is None


@pytest.mark.parametrize("name", ["state", "iss", "code"])
def test_authjs_signs_nobody_in_when_the_callback_was_tampered_with(authjs: App, account: Account, name: str) -> None:
    person = account.at_a_browser()
    callback = authjs.walk(person)
    forged = requests.Request("GET", authjs.callback_uri(BY_ID_TOKEN), params={**callback.parameters, name: "forged"})
    answer = person.request("GET", str(forged.prepare().url))
    assert "error=" in answer.headers["Location"]
    assert authjs.session(person) is None


def test_authjs_signs_nobody_in_when_the_callback_is_opened_in_another_browser(authjs: App, account: Account) -> None:
    callback = authjs.walk(account.at_a_browser())
    stranger = account.at_a_browser()
    assert "error=" in stranger.request("GET", callback.url).headers["Location"]
    assert authjs.session(stranger) is None


def test_authjs_asks_again_without_a_password_when_the_person_signed_out_of_the_app_only(
    authjs: App, account: Account
) -> None:
    person = account.at_a_browser()
    authjs.sign_in(person)
    assert authjs.press(person, "/auth/signout", "/auth/signout").status_code == 302
    assert authjs.session(person) is None

    before = len(person.steps)
    assert authjs.sign_in(person)["sub"] == account.subject
    assert not any(step.startswith("POST") and "/login" in step for step in person.steps[before:])
