"""The authorization code flow, step by step, as browser and client do it against the application in this process."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from server.domain.clients import Client
from server.domain.logout import sid_of
from server.domain.policy.client_metadata import ClientType
from server.domain.sessions import Session
from server.infra import jose
from tests.support.application import PASSWORD, REDIRECT_URI, Gatepost

VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def form_fields(html: str) -> dict[str, str]:
    """The hidden fields of a page's first form."""
    found = {}
    for tag in re.findall(r"<input\b[^>]*type=\"hidden\"[^>]*>", html):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and value:
            found[name[1]] = value[1]
    return found


def basic(client_id: str, secret: str) -> dict[str, str]:
    """The header of client_secret_basic."""
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def answer_of(location: str) -> dict[str, str]:
    """The parameters of an authorization response in the query."""
    return dict(parse_qsl(urlsplit(location).query, keep_blank_values=True))


def jwt_claims(token: str) -> dict[str, Any]:
    """The claims of a token, unverified."""
    return jose.peek_claims(token)


def session_id_of(gatepost: Gatepost, id_token: Mapping[str, Any]) -> str:
    """The id, here, of the session that the client knows by the `sid` of this ID token."""
    with gatepost.work() as work:
        (found,) = (
            session_id
            for session_id in work.db.scalars(select(Session.id))
            if sid_of(session_id, id_token["aud"]) == id_token["sid"]
        )
    return found


def flow_of(gatepost: Gatepost, client_type: ClientType = "web", **metadata: Any) -> Flow:
    """A new client and a new browser."""
    client, secret = gatepost.add_client(client_type, **metadata)
    return Flow(gatepost, client, secret, gatepost.browser())


@dataclass
class Flow:
    """One client and one browser."""

    gatepost: Gatepost
    client: Client
    secret: str | None
    browser: FlaskClient
    email: str = "ada@example.com"
    password: str = PASSWORD
    scope: str = "openid profile email offline_access"
    extra: dict[str, str] = field(default_factory=dict)

    def parameters(self, **changes: str | None) -> dict[str, str]:
        """The authorization request's parameters; None leaves one out."""
        found: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client.id,
            "redirect_uri": self.client.redirect_uris[0] if self.client.redirect_uris else REDIRECT_URI,
            "scope": self.scope,
            "state": "a state",
            "nonce": "a-nonce",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **self.extra,
            **changes,
        }
        return {name: value for name, value in found.items() if value is not None}

    def authorize(self, **changes: str | None) -> TestResponse:
        """Sends the authorization request; whatever comes back."""
        return self.browser.get("/oauth/authorize", query_string=self.parameters(**changes))

    def walk(self, response: TestResponse) -> TestResponse:
        """Does what the pages ask, allowing everything, until the browser leaves for the client."""
        for _ in range(12):
            location = response.headers.get("Location", "")
            if response.status_code != 303 or not location.startswith("/"):
                return response
            response = self.visit(location)
        raise AssertionError("the pages go round in circles")

    def open_page(self, path: str, response: TestResponse) -> TestResponse:
        """Goes on from `response`, answering what comes before, until the page at `path` shows."""
        for _ in range(12):
            location = response.headers.get("Location", "")
            if urlsplit(location).path == path:
                return self.browser.get(location)
            assert location.startswith("/"), (path, response.status_code, location)
            response = self.visit(location)
        raise AssertionError("the pages go round in circles")

    def visit(self, location: str) -> TestResponse:
        """Opens one of our pages and answers its form, if it has one we know."""
        page = self.browser.get(location)
        path = urlsplit(location).path
        if page.status_code != 200:
            return page
        if path == "/login":
            return self.submit(page, "/login", username=self.email, password=self.password, decision="sign_in")
        if path == "/consent":
            return self.submit(page, "/consent", decision="allow")
        if path == "/select-account":
            return self.submit(page, "/select-account", another="1")
        return page

    def submit(self, page: TestResponse, path: str, **fields: str) -> TestResponse:
        """Posts a page's form with its hidden fields."""
        return self.browser.post(path, data={**form_fields(page.text), **fields})

    def code(self, **changes: str | None) -> str:
        """A fresh authorization code."""
        response = self.walk(self.authorize(**changes))
        answer = answer_of(response.headers.get("Location", ""))
        assert "code" in answer, (response.status_code, answer, response.text[:500])
        return answer["code"]

    def post_token(self, **form: str | None) -> TestResponse:
        """A token request, authenticated as the client is registered."""
        headers = {}
        if self.client.token_endpoint_auth_method == "client_secret_basic" and self.secret:
            headers = basic(self.client.id, self.secret)
        elif self.client.token_endpoint_auth_method == "client_secret_post":
            form = {"client_id": self.client.id, "client_secret": self.secret, **form}
        else:
            form = {"client_id": self.client.id, **form}
        data = {name: value for name, value in form.items() if value is not None}
        return self.gatepost.app.test_client().post("/oauth/token", data=data, headers=headers)

    def redeem(self, code: str, **changes: str | None) -> TestResponse:
        """Redeems a code."""
        form: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.parameters()["redirect_uri"],
            "code_verifier": VERIFIER,
            **changes,
        }
        return self.post_token(**form)

    def tokens(self, **changes: str | None) -> dict[str, Any]:
        """A fresh token response."""
        response = self.redeem(self.code(**changes))
        assert response.status_code == 200, response.text
        document: dict[str, Any] = response.get_json()
        return document

    def refresh(self, refresh_token: str, **changes: str | None) -> TestResponse:
        """Refreshes."""
        return self.post_token(grant_type="refresh_token", refresh_token=refresh_token, **changes)
