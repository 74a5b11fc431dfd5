"""Fixtures of the API's tests: an organization, its people, and keys and sessions to ask with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from werkzeug.test import TestResponse

from server.domain.api_key_issuing import Maker, NewApiKey, issue_api_key
from server.domain.api_keys import ApiKey
from server.domain.memberships import add_member
from server.domain.organizations import Organization, create_organization, get_organization
from server.domain.roles import rights_of_role
from server.domain.users import User, get_user
from server.web.csrf import csrf_token
from tests.support.application import PASSWORD, Gatepost
from tests.support.deployment import gatepost, make_gatepost, prepared_folder
from tests.support.flow import form_fields

__all__ = ["gatepost", "make_gatepost", "prepared_folder"]


@dataclass
class Api:
    """One deployment with an organization of Ada's, asked over HTTP."""

    gatepost: Gatepost
    organization: Organization
    owner: User
    #: Sent with every request unless it says otherwise.
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where the organization stands."""
        return f"/v1/organizations/{self.organization.id}"

    def ask(self, method: str, path: str, body: Any = None, key: str | None = None, **options: Any) -> TestResponse:
        """Sends JSON with a key, to a path of the API or, beginning with `…`, of the organization."""
        headers = {**self.headers, **({"Authorization": f"Bearer {key}"} if key else {}), **options.pop("headers", {})}
        if body is not None:
            options |= {"data": json.dumps(body), "content_type": "application/json"}
        path = path.replace("…", self.path)
        return self.gatepost.app.test_client(use_cookies=False).open(path, method=method, headers=headers, **options)

    def key(self, *permissions: str, **terms: Any) -> str:
        """A new key of Ada's with these permissions."""
        return self.issue(*permissions, **terms)[1]

    def issue(self, *permissions: str, role: str = "owner", **terms: Any) -> tuple[ApiKey, str]:
        """The same with its row."""
        owner = terms.pop("owner", self.owner)
        organization_id = terms.pop("organization_id", self.organization.id)
        with self.gatepost.work() as work:
            maker = Maker(rights_of_role(work, organization_id, role), owner)
            new = NewApiKey("A key", list(permissions), **terms)
            return issue_api_key(work, get_organization(work, organization_id), new, maker)

    def member(self, email: str, role: str) -> User:
        """Somebody else, with a password, in the organization."""
        user = self.gatepost.add_user(email, name=email.partition("@")[0].capitalize())
        with self.gatepost.work() as work:
            add_member(work, get_organization(work, self.organization.id), user, role)
        return user

    def other_organization(self, email: str = "mallory@example.net") -> Organization:
        """An organization of somebody else's."""
        owner = self.gatepost.add_user(email, name="Mallory")
        with self.gatepost.work() as work:
            return create_organization(work, "Other Works", owner=get_user(work, owner.email))


class Session:
    """A person signed in on a browser, asking from our own pages."""

    def __init__(self, api: Api, email: str) -> None:
        self.api, self.browser = api, api.gatepost.browser()
        page = self.browser.get("/login")
        data = {**form_fields(page.text), "username": email, "password": PASSWORD, "decision": "sign_in"}
        answer = self.browser.post("/login", data=data)
        assert answer.status_code == 303, answer.text
        cookie = self.browser.get_cookie("gatepost")
        assert cookie is not None
        with api.gatepost.app.test_request_context("/", headers={"Cookie": f"gatepost={cookie.value}"}):
            self.token = csrf_token("api")

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> TestResponse:
        """As `Api.ask`, with cookie and token."""
        headers = {"X-CSRF-Token": self.token, **options.pop("headers", {})}
        if body is not None:
            options |= {"data": json.dumps(body), "content_type": "application/json"}
        return self.browser.open(path.replace("…", self.api.path), method=method, headers=headers, **options)


@pytest.fixture
def make_api() -> Callable[[Gatepost], Api]:
    """Gives a deployment an organization of Ada's."""

    def make(gatepost: Gatepost) -> Api:
        with gatepost.work() as work:
            owner = get_user(work, "ada@example.com")
            organization = create_organization(work, "Analytical Engines", owner=owner)
        return Api(gatepost, organization, owner)

    return make


@pytest.fixture
def api(gatepost: Gatepost, make_api: Callable[[Gatepost], Api]) -> Api:
    """The usual deployment."""
    return make_api(gatepost)


@pytest.fixture
def session(api: Api) -> Session:
    """Ada at our own pages."""
    return Session(api, "ada@example.com")
