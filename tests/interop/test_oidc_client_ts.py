"""oidc-client-ts in Chromium, on an origin of its own, against a live Gatepost: every call crosses origins."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.interop.registry import SCOPE, Account, RegisteredClient, create_client
from tests.support.servers import Server

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = [pytest.mark.interop, pytest.mark.browser]

SPA = Path(__file__).parent / "spa"


class _Handler(SimpleHTTPRequestHandler):
    """Serves the app's files; every other path is the app itself, as single-page apps are hosted."""

    def __init__(self, *arguments: Any, library: Path, **options: Any) -> None:
        self.library = library
        super().__init__(*arguments, directory=str(SPA), **options)

    def translate_path(self, path: str) -> str:
        only_path = path.partition("?")[0]
        if only_path == "/oidc-client-ts.js":
            return str(self.library)
        return str(SPA / ("app.js" if only_path == "/app.js" else "index.html"))

    def log_message(self, *_arguments: Any) -> None:
        """Says nothing: a test's output is the test's."""


@pytest.fixture(scope="session")
def spa_origin(node_project: Path) -> Iterator[str]:
    """The origin of the app, which is not the issuer's."""
    library = node_project / "node_modules" / "oidc-client-ts" / "dist" / "browser" / "oidc-client-ts.min.js"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, library=library)) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def spa_client(gatepost: Server, spa_origin: str) -> RegisteredClient:
    popup = f"{spa_origin}/popup"
    return create_client(gatepost, "spa", "--redirect-uri", popup, redirect_uri=f"{spa_origin}/callback")


@dataclass
class App:
    """The app in a browser tab."""

    page: "Page"
    origin: str
    complaints: list[str] = field(default_factory=list)

    def call(self, name: str, *arguments: Any) -> Any:
        """Calls a function of the app and returns what it resolves to."""
        return self.page.evaluate("([name, given]) => window.app[name](...given)", [name, list(arguments)])

    def leave_to_sign_in(self, **extra: Any) -> None:
        """Starts an authorization request and waits until the app's page is gone."""
        with self.page.expect_navigation():
            self.page.evaluate("(extra) => { window.app.signIn(extra); }", extra)

    def sign_in(self, account: Account) -> Any:
        """The whole way from the app through login and consent and back; returns the user."""
        self.leave_to_sign_in()
        self.page.fill("#username", account.email)
        self.page.fill("#password", account.password)
        self.page.click("#login-submit")
        self.page.click("#consent-approve")
        self.page.wait_for_url(f"{self.origin}/callback?*")
        return self.call("callback")


@pytest.fixture
def app(
    gatepost: Server, spa_origin: str, spa_client: RegisteredClient, browser_context: "BrowserContext"
) -> Iterator[App]:
    page = browser_context.new_page()
    opened = App(page, spa_origin)
    page.on("console", lambda message: opened.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    page.goto(spa_origin)
    settings = {"authority": gatepost.issuer, "client_id": spa_client.client_id, "scope": SCOPE}
    opened.call("configure", settings)
    page.reload()
    yield opened
    page.close()


def introspect(server: Server, resource_server: dict[str, Any], token: str) -> dict[str, Any]:
    """What an API learns about a token that the app sent it; apps without a secret do not ask themselves."""
    pair = (resource_server["client_id"], resource_server["client_secret"])
    answer = requests.post(server.url("/oauth/introspect"), data={"token": token}, auth=pair, timeout=10)
    document: dict[str, Any] = answer.json()
    return document


def test_oidc_client_ts_completes_the_life_of_a_set_of_tokens_when_it_runs_on_another_origin(
    app: App, account: Account, gatepost: Server
) -> None:
    notes_api = gatepost.run_json("clients", "create", "Notes API", "--type", "machine", "--introspect-any")
    user = app.sign_in(account)
    assert user["profile"]["sub"] == account.subject
    assert user["profile"]["email"] == account.email
    assert user["refresh_token"].startswith("rt_")
    assert user["expired"] is False

    renewed = app.call("renew")
    assert renewed["refresh_token"] != user["refresh_token"]
    assert renewed["access_token"] != user["access_token"]
    assert renewed["profile"]["sub"] == account.subject

    bearer = {"headers": {"Authorization": f"Bearer {renewed['access_token']}"}}
    assert app.call("fetch", gatepost.url("/oauth/userinfo"), bearer)["status"] == 200
    introspected = introspect(gatepost, notes_api, renewed["access_token"])
    assert introspected["active"] is True
    assert introspected["sub"] == account.subject
    assert app.complaints == []

    app.call("revoke")
    assert introspect(gatepost, notes_api, renewed["access_token"]) == {"active": False}
    refused = app.call("fetch", gatepost.url("/oauth/userinfo"), bearer)
    assert refused["status"] == 401
    assert "invalid_token" in refused["challenge"], "the app must be able to read why"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"grant_type=refresh_token&client_id={app.call('clientId')}&refresh_token={renewed['refresh_token']}"
    after = app.call("fetch", gatepost.url("/oauth/token"), {"method": "POST", "headers": form, "body": body})
    assert after["status"] == 400
    assert "invalid_grant" in after["body"]
    unexpected = [text for text in app.complaints if "status of 40" not in text]
    assert unexpected == []


def test_oidc_client_ts_signs_in_when_the_pages_open_in_a_popup(app: App, account: Account) -> None:
    with app.page.expect_popup() as opened:
        app.page.evaluate("() => { window.signedIn = window.app.signInPopup(); }")
    popup = opened.value
    popup.fill("#username", account.email)
    popup.fill("#password", account.password)
    popup.click("#login-submit")
    # The popup closes itself, which it can only be asked to while it still has its opener.
    with popup.expect_event("close"):
        popup.click("#consent-approve")
    assert app.page.evaluate("() => window.signedIn")["profile"]["sub"] == account.subject
    assert app.call("opener") == "kept"
    assert app.complaints == []


def test_oidc_client_ts_reads_access_denied_when_the_person_cancels(app: App) -> None:
    app.leave_to_sign_in()
    app.page.click("#login-cancel")
    app.page.wait_for_url(f"{app.origin}/callback?*")
    assert app.call("callbackError")["error"] == "access_denied"
    assert app.complaints == []


@pytest.mark.spec("RFC 9700 §2.6")
@pytest.mark.parametrize("path", ["/oauth/authorize", "/login", "/consent", "/logout", "/"])
def test_pages_stay_closed_to_other_origins_when_a_script_asks(app: App, gatepost: Server, path: str) -> None:
    assert app.call("fetch", gatepost.url(path)) == "blocked"
    assert app.call("fetch", gatepost.url(path), {"credentials": "include"}) == "blocked"


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/.well-known/jwks.json"])
def test_metadata_is_open_to_other_origins_when_a_script_asks(app: App, gatepost: Server, path: str) -> None:
    assert app.call("fetch", gatepost.url(path))["status"] == 200


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/userinfo", "/oauth/revoke"])
def test_endpoints_never_take_cookies_from_other_origins_when_a_script_asks(
    app: App, gatepost: Server, path: str
) -> None:
    init = {"method": "POST", "credentials": "include", "body": "a=b"}
    assert app.call("fetch", gatepost.url(path), init) == "blocked"
