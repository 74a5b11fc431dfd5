"""The roles that every organization has: what each may do, and that none of them grows unnoticed."""

from __future__ import annotations

import pytest

from server.domain.policy.role_permissions import MANAGEMENT, MANAGEMENT_NAMES, ROLES
from server.domain.policy.scope_grammar import is_pattern, is_scope_token

READ = {"organizations:read", "users:read", "roles:read"}


def test_management_permissions_are_these() -> None:
    assert (
        *("organizations:read", "organizations:write", "organizations:delete"),
        *("users:read", "users:write", "users:delete", "roles:read", "roles:write"),
        *("api-keys:read", "api-keys:write", "clients:read", "clients:write", "audit:read"),
        *("billing:read", "billing:write"),
    ) == MANAGEMENT_NAMES


def test_permission_that_changes_something_is_sensitive() -> None:
    for permission in MANAGEMENT:
        assert is_scope_token(permission.name)
        assert permission.sentence[0].isupper()
        assert not permission.sentence.endswith(".")
        assert permission.sensitive or permission.name.endswith(":read")


@pytest.mark.parametrize(
    ("role", "permissions", "api"),
    [
        ("owner", {"*"}, "all"),
        ("admin", set(MANAGEMENT_NAMES) - {"organizations:delete"}, "all"),
        ("developer", READ | {"api-keys:read", "api-keys:write", "clients:read", "clients:write"}, "all"),
        ("billing", {"organizations:read", "users:read", "billing:read", "billing:write"}, "none"),
        ("member", READ, "ordinary"),
    ],
)
def test_role_has_these_permissions(role: str, permissions: set[str], api: str) -> None:
    assert set(ROLES[role].permissions) == permissions
    assert ROLES[role].api == api


def test_roles_are_listed_from_the_most_to_the_least_and_say_what_they_are() -> None:
    assert list(ROLES) == ["owner", "admin", "developer", "billing", "member"]
    for name, role in ROLES.items():
        assert role.name == name
        assert role.title == name.capitalize()
        assert role.sentence.endswith(".")


def test_only_the_owner_has_permissions_that_are_not_named_one_by_one() -> None:
    for name, role in ROLES.items():
        assert any(is_pattern(permission) for permission in role.permissions) is (name == "owner")
