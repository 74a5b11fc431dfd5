"""API keys and whoever makes them, with defaults where a test does not care."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from server.domain.actor import Actor
from server.domain.api_key_issuing import OPERATOR_MAKER, Maker, NewApiKey, issue_api_key
from server.domain.api_keys import ApiKey
from server.domain.memberships import add_member, find_membership
from server.domain.organizations import Organization
from server.domain.roles import rights_of_member
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from tests.domain.factories import make_user
from tests.support.application import Gatepost

ADDRESS = "203.0.113.7"


@pytest.fixture
def any_gatepost(database_url: str, tmp_path: Path) -> Iterator[Gatepost]:
    """A deployment on SQLite, and one on PostgreSQL."""
    gatepost = Gatepost(tmp_path, database_url=database_url)
    yield gatepost
    gatepost.close()


def make_api_key(
    work: UnitOfWork, organization: Organization, maker: Maker = OPERATOR_MAKER, **values: Any
) -> tuple[ApiKey, str]:
    """A key and its text."""
    return issue_api_key(
        work, organization, NewApiKey(**{"name": "Sample", "permissions": ["users:read"], **values}), maker
    )


def make_member(
    work: UnitOfWork, organization: Organization, role: str = "admin", email: str = "grace@example.com"
) -> User:
    """A person with a role in the organization."""
    user = make_user(work, email)
    add_member(work, organization, user, role)
    return user


def maker_of(work: UnitOfWork, organization: Organization, user: User, *, expires_at: datetime | None = None) -> Maker:
    """The person as the maker of keys."""
    membership = find_membership(work, organization.id, user.id)
    assert membership is not None
    return Maker(rights_of_member(work, membership), user, expires_at)


def coming_from(work: UnitOfWork, ip: str | None, user_agent: str | None = "curl/8") -> UnitOfWork:
    """The same work, on behalf of a stranger at this address."""
    return UnitOfWork(work.runtime, work.db, Actor("anonymous", None, ip, user_agent, "req_sample"), work.registry)
