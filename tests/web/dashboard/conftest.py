"""An organization with a member in every role, and browsers in which they are signed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from server.config import ScopeSetting
from server.domain import memberships, organizations, roles
from server.domain.api_key_issuing import Maker, NewApiKey, issue_api_key
from server.domain.memberships import Membership
from server.domain.organizations import Organization
from server.domain.policy.role_permissions import ROLES
from server.domain.roles import rights_of_role
from server.domain.users import User, find_user_by_email
from tests.support.application import PASSWORD, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import form_fields

SCOPES = {
    "entities:read": "See your entities",
    "entities:write": "Change your entities",
    "boards:write": ScopeSetting(sentence="Change boards", sensitive=True),
}


@dataclass
class Visitor:
    """Somebody signed in, at an organization's dashboard."""

    gatepost: Gatepost
    browser: FlaskClient
    email: str
    slug: str = "acme"
    environment: str = "live"
    headers: dict[str, str] = field(default_factory=dict)

    def path(self, *parts: str) -> str:
        """The path of a page of the organization."""
        return "/".join(("/dashboard", self.slug, self.environment, *parts))

    def get(self, *parts: str) -> TestResponse:
        """Opens a page of the organization."""
        return self.browser.get(self.path(*parts))

    def submit(self, form: TestResponse, path: str, **fields: str | list[str]) -> TestResponse:
        """Posts a page's form with its hidden fields."""
        return self.browser.post(path, data={**form_fields(form.text), **fields}, headers=self.headers)

    def fill_in(self, *parts: str, to: str | None = None, **fields: str | list[str]) -> TestResponse:
        """Opens the page with the form and posts it, by default to its own path."""
        form = self.get(*parts)
        assert form.status_code == 200, (parts, form.status_code, form.headers.get("Location"), form.text[-600:])
        return self.submit(form, to or self.path(*parts), **fields)


@dataclass
class Acme:
    """The organization."""

    gatepost: Gatepost
    organization: Organization
    people: dict[str, User]

    def sign_in(self, role: str = "owner", *, email: str | None = None) -> Visitor:
        """A browser in which the member with this role has just signed in."""
        return sign_in(self.gatepost, email or f"{role}@example.com", self.organization.slug)

    def membership(self, role: str) -> Membership:
        """The membership of the member with this role."""
        with self.gatepost.work() as work:
            return memberships.get_membership(work, self.organization.id, self.people[role].id)

    def give_own_role(self, member: str, name: str, *permissions: str) -> None:
        """Gives the member, known by their first role, a role of the organization's own."""
        with self.gatepost.work() as work:
            roles.create_role(work, self.organization, name, permissions, maker_rights=None)
            membership = memberships.get_membership(work, self.organization.id, self.people[member].id)
            memberships.change_role(work, membership, name)

    def make_key(self, name: str = "Worker", *permissions: str, environment: str = "live", **details: object) -> str:
        """The id of a key that the owner made."""
        with self.gatepost.work() as work:
            maker = Maker(rights_of_role(work, self.organization.id, "owner"), self.people["owner"])
            new = NewApiKey(name, permissions or ("entities:read",), environment=environment, **details)  # type: ignore[arg-type]
            return issue_api_key(work, self.organization, new, maker)[0].id


def sign_in(gatepost: Gatepost, email: str, slug: str = "acme") -> Visitor:
    """A browser in which the person of this address has just signed in."""
    browser = gatepost.browser()
    form = form_fields(browser.get("/login").text)
    answer = browser.post("/login", data={**form, "username": email, "password": PASSWORD, "decision": "sign_in"})
    assert answer.status_code == 303, answer.text[:500]
    return Visitor(gatepost, browser, email, slug)


def make_acme(gatepost: Gatepost) -> Acme:
    """The organization Acme with one member in each built-in role."""
    people = {role: gatepost.add_user(f"{role}@example.com", name=f"The {role}") for role in ROLES}
    with gatepost.work() as work:
        owner = find_user_by_email(work, "owner@example.com")
        organization = organizations.create_organization(work, "Acme", owner=owner)
        for role in ROLES:
            if role != "owner":
                memberships.add_member(work, organization, people[role], role)
    return Acme(gatepost, organization, people)


@pytest.fixture
def make(make_gatepost: GatepostMaker) -> Callable[..., Acme]:
    """Acme on a deployment with further settings."""
    return lambda **settings: make_acme(make_gatepost(**{"scopes": SCOPES, **settings}))


@pytest.fixture
def acme(make: Callable[..., Acme]) -> Acme:
    """Acme on a deployment with an API of its own."""
    return make()
