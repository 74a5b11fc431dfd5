"""A member of an organization in front of the dashboard, with the application in this process."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from server.domain.memberships import add_member
from server.domain.organizations import Organization, create_organization
from server.domain.users import User, get_user
from tests.support.application import PASSWORD, Gatepost
from tests.support.flow import form_fields


@dataclass
class Member:
    """A person signed in, their browser, and the organization they are in."""

    gatepost: Gatepost
    organization: Organization
    user: User
    browser: FlaskClient
    environment: str = "live"
    fields: dict[str, str] = field(default_factory=dict)

    def path(self, *parts: str) -> str:
        """The path of a page of the organization."""
        return "/".join(("/dashboard", self.organization.slug, self.environment, *parts))

    def get(self, *parts: str, **query: str) -> TestResponse:
        """Opens a page."""
        return self.browser.get(self.path(*parts), query_string=query)

    def post(self, *parts: str, form: str | None = None, **fields: Any) -> TestResponse:
        """Opens a page, or the one at the path `form`, and posts the form of it that goes to this path."""
        page = self.browser.get(form or self.path(*parts))
        assert page.status_code == 200, (page.status_code, page.headers.get("Location"), page.text[:2000])
        return self.submit(page, *parts, **fields)

    def submit(self, page: TestResponse, *parts: str, **fields: Any) -> TestResponse:
        """Posts the form of the page that goes to this path, with its hidden fields."""
        path = self.path(*parts)
        form = next(each for each in forms(page.text) if f'method="post" action="{path}"' in each)
        return self.browser.post(path, data={**form_fields(form), **fields})


def forms(html: str) -> list[str]:
    """The forms of a page."""
    return re.findall(r"<form\b.*?</form>", html, re.DOTALL)


def visible(html: str) -> str:
    """The text of a page, as far as a test looks for words in it."""
    without = re.sub(r"<(?:script|style|svg)\b.*?</(?:script|style|svg)>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", without)).split())


def sign_in(gatepost: Gatepost, email: str, password: str = PASSWORD) -> FlaskClient:
    """A browser on which the person has signed in just now."""
    browser = gatepost.browser()
    page = browser.get("/login")
    answer = browser.post("/login", data={**form_fields(page.text), "username": email, "password": password})
    assert answer.status_code == 303, answer.text[:500]
    return browser


def member(
    gatepost: Gatepost,
    role: str = "owner",
    *,
    email: str = "ada@example.com",
    organization: Organization | None = None,
    name: str = "Example Works",
) -> Member:
    """A person with a role in an organization, signed in; both are made when they are not there."""
    with gatepost.work() as work:
        made = organization or create_organization(work, name)
    if email != "ada@example.com":
        gatepost.add_user(email)
    with gatepost.work() as work:
        user = get_user(work, email)
        add_member(work, made, user, role)
    return Member(gatepost, made, user, sign_in(gatepost, email))
