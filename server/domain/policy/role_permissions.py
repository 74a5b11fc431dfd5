"""What may each role do in an organization? The management permissions, and the roles that every organization has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from server.domain.policy.scope_grammar import ANY

#: How much of the deployment's own scopes a role has: all, those that are not sensitive, or none.
ApiAccess = Literal["all", "ordinary", "none"]


@dataclass(frozen=True)
class Permission:
    """One thing that may be done to an organization; as a scope it is spelled the same."""

    name: str
    sentence: str
    sensitive: bool = False


@dataclass(frozen=True)
class Role:
    """A role that every organization has."""

    name: str
    title: str
    sentence: str
    permissions: tuple[str, ...]
    api: ApiAccess


MANAGEMENT: Final = (
    Permission("organizations:read", "See your organizations"),
    Permission("organizations:write", "Change the settings of your organizations", sensitive=True),
    Permission("organizations:delete", "Delete your organizations", sensitive=True),
    Permission("users:read", "See the members of your organizations"),
    Permission("users:write", "Invite members to your organizations and change their roles", sensitive=True),
    Permission("users:delete", "Remove members from your organizations", sensitive=True),
    Permission("roles:read", "See the roles in your organizations"),
    Permission("roles:write", "Change the roles in your organizations", sensitive=True),
    Permission("api-keys:read", "See the API keys of your organizations, without their secrets"),
    Permission("api-keys:write", "Make, change and revoke API keys of your organizations", sensitive=True),
    Permission("clients:read", "See the applications of your organizations"),
    Permission("clients:write", "Make, change and delete applications of your organizations", sensitive=True),
    Permission("audit:read", "See who did what in your organizations", sensitive=True),
    Permission("billing:read", "See the plan and the invoices of your organizations"),
    Permission("billing:write", "Change the plan and the means of payment of your organizations", sensitive=True),
)
MANAGEMENT_NAMES: Final = tuple(permission.name for permission in MANAGEMENT)

# But for the owner's, permissions are named one by one: a later one reaches nobody unnoticed.
_ROLES: Final = (
    Role("owner", "Owner", "May do everything, also delete the organization.", (ANY,), "all"),
    Role(
        "admin",
        "Admin",
        "May do everything but delete the organization.",
        tuple(name for name in MANAGEMENT_NAMES if name != "organizations:delete"),
        "all",
    ),
    Role(
        "developer",
        "Developer",
        "Makes API keys and applications, and sees the members.",
        (
            "organizations:read",
            "users:read",
            "roles:read",
            "api-keys:read",
            "api-keys:write",
            "clients:read",
            "clients:write",
        ),
        "all",
    ),
    Role(
        "billing",
        "Billing",
        "Looks after the plan and the invoices, and sees the members.",
        ("organizations:read", "users:read", "billing:read", "billing:write"),
        "none",
    ),
    Role(
        "member",
        "Member",
        "Sees the organization and uses its API where nothing sensitive is at stake.",
        ("organizations:read", "users:read", "roles:read"),
        "ordinary",
    ),
)
ROLES: Final[dict[str, Role]] = {role.name: role for role in _ROLES}
