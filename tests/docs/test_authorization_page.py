"""docs/authorization.md: as it is generated, and nothing that is served is missing from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.authorization_page import authorization_page, roles_with
from server.domain.policy.role_permissions import MANAGEMENT, ROLES
from server.web.api.operation import as_template
from server.web.api.operations import OPERATIONS
from tests.support.application import Gatepost
from tests.support.deployment import gatepost, make_gatepost, prepared_folder

__all__ = ["gatepost", "make_gatepost", "prepared_folder"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "authorization.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_page_is_up_to_date_when_it_is_read(page: str) -> None:
    assert page == authorization_page(), "run: make docs"


def test_every_operation_is_told_once_when_it_is_in_the_table(page: str) -> None:
    for operation in OPERATIONS:
        assert page.count(f"| `{operation.method} {as_template(operation.path)}` |") == 1, operation.name


def test_every_page_of_the_dashboard_is_told_when_it_is_mapped(gatepost: Gatepost, page: str) -> None:
    for rule in gatepost.app.url_map.iter_rules():
        if rule.endpoint.startswith("dashboard."):
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                assert f"| `{method} {as_template(rule.rule)}` |" in page, rule


def test_every_permission_is_told_with_its_roles_when_there_is_one(page: str) -> None:
    for permission in MANAGEMENT:
        row = re.search(rf"^\| `{permission.name}` \| .* \|$", page, re.MULTILINE)
        assert row is not None, permission.name
        assert row[0].count("yes") == len(roles_with(permission.name))
        assert roles_with(permission.name)[0] == "owner"
    assert roles_with(None) == list(ROLES)
