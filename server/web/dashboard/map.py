"""Every page of the dashboard on one screen: where, how, what answers, and what it takes.

The URL map and the matrix of who may do what are made from it. The pages about applications and the audit log stand in
`application_map.py`.
"""

from __future__ import annotations

from typing import Final

from server.web.dashboard import api_key_changes, api_keys, home, members, members_invited, organizations, roles
from server.web.dashboard.page import CONFIRMED, GET, POST, Page
from server.web.dashboard.shell import INSIDE

_NEW: Final = "/dashboard/organizations/new"
_KEYS: Final = f"{INSIDE}/api-keys"
_KEY: Final = f"{INSIDE}/api-keys/<key_id>"
_MEMBER: Final = f"{INSIDE}/members/<membership_id>"
_INVITE: Final = f"{INSIDE}/members/invite"
_LEAVE: Final = f"{INSIDE}/members/leave"
_INVITATION: Final = f"{INSIDE}/members/invitations/<invitation_id>"
_ROLES: Final = f"{INSIDE}/roles"
_ROLE: Final = f"{INSIDE}/roles/<role_id>"
_SETTINGS: Final = f"{INSIDE}/settings"

PAGES: Final[tuple[Page, ...]] = (
    # path, endpoint, methods, what answers, permission, whether dangerous, what shows the form again
    Page("/dashboard", "dashboard.organizations", GET, home.show_organizations),
    Page(CONFIRMED, "dashboard.confirmed", GET, home.show_confirmed),
    Page(_NEW, "dashboard.new_organization", GET, home.show_new),
    Page(_NEW, "dashboard.create_organization", POST, home.create, again=home.show_new),
    Page(INSIDE, "dashboard.overview", GET, home.show_overview),

    Page(_KEYS, "dashboard.api_keys", GET, api_keys.show_api_keys, "api-keys:read"),
    Page(f"{_KEYS}/new", "dashboard.new_api_key", GET, api_key_changes.show_new_api_key, "api-keys:write", True),
    Page(_KEYS, "dashboard.create_api_key", POST, api_key_changes.create_api_key, "api-keys:write", True,
         api_key_changes.show_new_api_key),
    Page(_KEY, "dashboard.api_key", GET, api_keys.show_api_key, "api-keys:read"),
    Page(f"{_KEY}/edit", "dashboard.edit_api_key", GET, api_key_changes.show_edit_api_key, "api-keys:write", True),
    Page(f"{_KEY}/edit", "dashboard.change_api_key", POST, api_key_changes.change_api_key, "api-keys:write", True,
         api_key_changes.show_edit_api_key),
    Page(f"{_KEY}/rotate", "dashboard.show_rotate", GET, api_key_changes.show_rotate_api_key, "api-keys:write", True),
    Page(f"{_KEY}/rotate", "dashboard.rotate", POST, api_key_changes.rotate, "api-keys:write", True,
         api_key_changes.show_rotate_api_key),
    Page(f"{_KEY}/revoke", "dashboard.show_revoke", GET, api_key_changes.show_revoke_api_key, "api-keys:write", True),
    Page(f"{_KEY}/revoke", "dashboard.revoke", POST, api_key_changes.revoke, "api-keys:write", True,
         api_key_changes.show_revoke_api_key),

    Page(f"{INSIDE}/members", "dashboard.members", GET, members.show_members, "users:read"),
    Page(_INVITE, "dashboard.show_invite", GET, members_invited.show_invite, "users:write", True),
    Page(_INVITE, "dashboard.invite", POST, members_invited.invite, "users:write", True, members_invited.show_invite),
    Page(_LEAVE, "dashboard.show_leave", GET, members.show_leave, None, True),
    Page(_LEAVE, "dashboard.leave", POST, members.leave, None, True, members.show_leave),
    Page(_MEMBER, "dashboard.member", GET, members.show_member, "users:write", True),
    Page(_MEMBER, "dashboard.change_member", POST, members.change_member, "users:write", True, members.show_member),
    Page(f"{_MEMBER}/suspend", "dashboard.show_suspend", GET, members.show_suspend, "users:write", True),
    Page(f"{_MEMBER}/suspend", "dashboard.suspend", POST, members.suspend, "users:write", True, members.show_suspend),
    Page(f"{_MEMBER}/resume", "dashboard.show_resume", GET, members.show_resume, "users:write", True),
    Page(f"{_MEMBER}/resume", "dashboard.resume", POST, members.resume, "users:write", True, members.show_resume),
    Page(f"{_MEMBER}/remove", "dashboard.show_remove", GET, members.show_remove, "users:delete", True),
    Page(f"{_MEMBER}/remove", "dashboard.remove", POST, members.remove, "users:delete", True, members.show_remove),
    Page(f"{_INVITATION}/resend", "dashboard.show_resend", GET, members_invited.show_resend, "users:write", True),
    Page(f"{_INVITATION}/resend", "dashboard.resend", POST, members_invited.resend, "users:write", True,
         members_invited.show_resend),
    Page(f"{_INVITATION}/withdraw", "dashboard.show_withdraw", GET, members_invited.show_withdraw, "users:write", True),
    Page(f"{_INVITATION}/withdraw", "dashboard.withdraw", POST, members_invited.withdraw, "users:write", True,
         members_invited.show_withdraw),

    Page(_ROLES, "dashboard.roles", GET, roles.show_roles, "roles:read"),
    Page(f"{_ROLES}/new", "dashboard.new_role", GET, roles.show_new_role, "roles:write", True),
    Page(f"{_ROLES}/new", "dashboard.create_role", POST, roles.create_role, "roles:write", True, roles.show_new_role),
    Page(_ROLE, "dashboard.role", GET, roles.show_role, "roles:write", True),
    Page(_ROLE, "dashboard.change_role", POST, roles.change_role, "roles:write", True, roles.show_role),
    Page(f"{_ROLE}/delete", "dashboard.show_delete_role", GET, roles.show_delete_role, "roles:write", True),
    Page(f"{_ROLE}/delete", "dashboard.delete_role", POST, roles.delete_role, "roles:write", True,
         roles.show_delete_role),

    Page(_SETTINGS, "dashboard.settings", GET, organizations.show_settings, "organizations:read"),
    Page(_SETTINGS, "dashboard.change_settings", POST, organizations.change_settings, "organizations:write",
         again=organizations.show_settings),
    Page(f"{_SETTINGS}/delete", "dashboard.show_delete", GET, organizations.show_delete, "organizations:delete", True),
    Page(f"{_SETTINGS}/delete", "dashboard.delete", POST, organizations.delete, "organizations:delete", True,
         organizations.show_delete),
)  # fmt: skip
