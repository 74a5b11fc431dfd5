"""Applications for a real browser to come back to, and an ear for everything the browser complains about."""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests

from tests.interop.person import challenge_of
from tests.interop.registry import SCOPE, RegisteredClient
from tests.support.servers import Server

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

PAGE = (
    b'<!doctype html><html lang="en"><title>App</title><link rel="icon" href="data:,"><p id="arrived">Back in the app'
)


@dataclass
class Callback:
    """One response as the application received it."""

    method: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str]


@dataclass
class Application:
    """An application on an origin of its own; `onward` is where its callback sends the browser next, if anywhere."""

    origin: str
    onward: str | None = None
    received: list[Callback] = field(default_factory=list)

    @property
    def callback_uri(self) -> str:
        """Its redirect URI."""
        return f"{self.origin}/callback"


@contextmanager
def application(onward: str | None = None) -> Iterator[Application]:
    """Runs an application on a free loopback port until the context ends."""
    app = Application("", onward)

    class Handler(BaseHTTPRequestHandler):
        def _take(self, raw: str) -> None:
            path = urlsplit(self.path).path
            if path == "/callback":
                parameters = dict(parse_qsl(raw, keep_blank_values=True))
                app.received.append(Callback(self.command, path, parameters, dict(self.headers)))
            if path == "/callback" and app.onward is not None:
                self.send_response(303)
                self.send_header("Location", app.onward)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)

        def do_GET(self) -> None:
            self._take(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self._take(self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode())

        def log_message(self, *_arguments: Any) -> None:
            """Says nothing: a test's output is the test's."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        app.origin = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield app
        server.shutdown()
        thread.join()


@dataclass
class Complaints:
    """What the browser held against the pages: console errors, script errors and blocked content."""

    found: list[str] = field(default_factory=list)

    def listen(self, context: "BrowserContext") -> None:
        """Collects from every page of a browser profile, also from those that a redirect leaves at once."""
        context.on("console", lambda message: self._console(message.type, message.text))
        context.on("weberror", lambda error: self.found.append(f"script: {error.error}"))
        context.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " (event) => console.error('CSP', event.violatedDirective, event.blockedURI));"
        )

    def _console(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.found.append(f"{kind}: {text}")


@dataclass
class Relying:
    """A client's side of one authorization: makes the request, redeems the code, verifies the answer."""

    server: Server
    client: RegisteredClient
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    nonce: str = field(default_factory=lambda: hashlib.sha256(secrets.token_bytes(16)).hexdigest())

    def url(self, **extra: str) -> str:
        """The authorization request."""
        query = {"response_type": "code", "client_id": self.client.client_id, "redirect_uri": self.client.redirect_uri}
        query |= {"scope": SCOPE, "state": self.state, "nonce": self.nonce}
        query |= {"code_challenge": challenge_of(self.verifier), "code_challenge_method": "S256", **extra}
        return f"{self.server.url('/oauth/authorize')}?{urlencode(query)}"

    def redeem(self, parameters: dict[str, str]) -> dict[str, Any]:
        """The verified claims of the ID token that the code of this response gives."""
        from joserfc import jwt
        from joserfc.jwk import KeySet

        assert parameters["state"] == self.state
        assert parameters["iss"] == self.server.issuer
        form = {"grant_type": "authorization_code", "code": parameters["code"], "code_verifier": self.verifier}
        form |= {"redirect_uri": self.client.redirect_uri, "client_id": self.client.client_id}
        pair = None
        if self.client.client_secret:
            pair = (self.client.client_id, self.client.client_secret)
            del form["client_id"]
        answer = requests.post(self.server.url("/oauth/token"), data=form, auth=pair, timeout=10)
        assert answer.status_code == 200, answer.text
        keys = KeySet.import_key_set(requests.get(self.server.url("/.well-known/jwks.json"), timeout=10).json())
        claims = jwt.decode(answer.json()["id_token"], keys, algorithms=["RS256"]).claims
        assert claims["nonce"] == self.nonce
        return claims


def fill_in(page: "Page", username: str, password: str) -> None:
    """Fills in the sign-in page and presses the button."""
    page.fill("#username", username)
    page.fill("#password", password)
    page.click("#login-submit")
