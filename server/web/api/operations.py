"""Every operation of `/v1`, in one table: URLs, OpenAPI document and `docs/authorization.md` are made from it."""

from __future__ import annotations

from typing import Final

from server.web.api import api_key_documents as key_documents
from server.web.api import (
    api_keys,
    audit_events,
    clients,
    invitations,
    leaked_keys,
    me,
    members,
    organizations,
    roles,
    verify,
)
from server.web.api.documents import EnvironmentPageQuery, InEnvironment, Page, PageQuery
from server.web.api.operation import Operation

_ORGANIZATION: Final = "/organizations/<organization>"
_USER: Final = f"{_ORGANIZATION}/users/<user_id>"
_MEMBER: Final = f"{_ORGANIZATION}/members/<member_id>"
_INVITATION: Final = f"{_ORGANIZATION}/invitations/<invitation_id>"
_ROLE: Final = f"{_ORGANIZATION}/roles/<role_id>"
_KEYS: Final = f"{_ORGANIZATION}/api-keys"
#: No id is as short as `revoke`, which is a path of its own.
_KEY: Final = f"{_KEYS}/<string(minlength=8):key_id>"
_CLIENTS: Final = f"{_ORGANIZATION}/clients"
_CLIENT: Final = f"{_CLIENTS}/<client_id>"
_AUDIT: Final = f"{_ORGANIZATION}/audit-events"

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation("get_me", "GET", "/me", me.me, "Who am I",
              access="caller", answer=me.Me, tag="Me"),
    Operation("get_user_me", "GET", "/users/me", me.me, "Who am I, by another name",
              access="caller", answer=me.Me, tag="Me"),

    Operation("list_organizations", "GET", "/organizations", organizations.list_organizations, "List organizations",
              access="caller", permission="organizations:read", query=PageQuery,
              answer=Page[organizations.OrganizationDocument], tag="Organizations"),
    Operation("create_organization", "POST", "/organizations", organizations.create, "Create an organization",
              access="person", permission="organizations:write", body=organizations.NewOrganization,
              answer=organizations.OrganizationDocument, status=201, tag="Organizations"),
    Operation("get_organization", "GET", _ORGANIZATION, organizations.get, "Get an organization",
              permission="organizations:read", answer=organizations.OrganizationDocument, tag="Organizations"),
    Operation("update_organization", "PATCH", _ORGANIZATION, organizations.update, "Change an organization",
              permission="organizations:write", body=organizations.OrganizationChanges,
              answer=organizations.OrganizationDocument, tag="Organizations"),
    Operation("delete_organization", "DELETE", _ORGANIZATION, organizations.delete,
              "Delete an organization with all that belongs to it",
              permission="organizations:delete", status=204, is_dangerous=True, tag="Organizations"),

    Operation("list_users", "GET", f"{_ORGANIZATION}/users", members.list_users, "List users",
              permission="users:read", query=PageQuery, answer=Page[members.UserDocument], tag="Users"),
    Operation("get_user", "GET", _USER, members.get_user_of_organization, "Get a user",
              permission="users:read", answer=members.UserDocument, tag="Users"),
    Operation("remove_user", "DELETE", _USER, members.remove_user, "Remove a user from the organization",
              permission="users:delete", status=204, is_dangerous=True, tag="Users"),

    Operation("list_members", "GET", f"{_ORGANIZATION}/members", members.list_members, "List members",
              permission="users:read", query=PageQuery, answer=Page[members.MemberDocument], tag="Members"),
    Operation("get_member", "GET", _MEMBER, members.get_member, "Get a member",
              permission="users:read", answer=members.MemberDocument, tag="Members"),
    Operation("update_member", "PATCH", _MEMBER, members.update_member, "Change a member, suspend or resume them",
              permission="users:write", body=members.MemberChanges, answer=members.MemberDocument, is_dangerous=True,
              tag="Members"),
    Operation("remove_member", "DELETE", _MEMBER, members.remove, "Remove a member",
              permission="users:delete", status=204, is_dangerous=True, tag="Members"),

    Operation("list_invitations", "GET", f"{_ORGANIZATION}/invitations", invitations.list_invitations,
              "List invitations", permission="users:read", query=PageQuery,
              answer=Page[invitations.InvitationDocument], tag="Invitations"),
    Operation("create_invitation", "POST", f"{_ORGANIZATION}/invitations", invitations.create, "Invite somebody",
              permission="users:write", body=invitations.NewInvitation, answer=invitations.InvitationDocument,
              status=201, is_dangerous=True, tag="Invitations"),
    Operation("resend_invitation", "POST", f"{_INVITATION}/resend", invitations.resend, "Send an invitation again",
              permission="users:write", answer=invitations.InvitationDocument, is_dangerous=True, tag="Invitations"),
    Operation("revoke_invitation", "DELETE", _INVITATION, invitations.revoke, "Revoke an invitation",
              permission="users:write", status=204, is_dangerous=True, tag="Invitations"),

    Operation("list_roles", "GET", f"{_ORGANIZATION}/roles", roles.list_roles, "List roles",
              permission="roles:read", answer=roles.RoleList, tag="Roles"),
    Operation("create_role", "POST", f"{_ORGANIZATION}/roles", roles.create, "Create a role",
              permission="roles:write", body=roles.NewRole, answer=roles.RoleDocument, status=201, is_dangerous=True,
              tag="Roles"),
    Operation("update_role", "PATCH", _ROLE, roles.update, "Change a role, for everybody who has it",
              permission="roles:write", body=roles.RoleChanges, answer=roles.RoleDocument, is_dangerous=True,
              tag="Roles"),
    Operation("delete_role", "DELETE", _ROLE, roles.delete, "Delete a role that nobody has",
              permission="roles:write", status=204, is_dangerous=True, tag="Roles"),

    Operation("list_api_keys", "GET", _KEYS, api_keys.list_api_keys, "List API keys",
              permission="api-keys:read", query=EnvironmentPageQuery, answer=Page[key_documents.ApiKeyDocument],
              tag="API keys"),
    Operation("create_api_key", "POST", _KEYS, api_keys.create, "Create an API key, shown this once",
              permission="api-keys:write", query=InEnvironment, body=key_documents.NewApiKeyBody,
              answer=key_documents.IssuedApiKey, status=201, is_dangerous=True, tag="API keys"),
    Operation("revoke_api_keys", "POST", f"{_KEYS}/revoke", api_keys.revoke_many, "Revoke many API keys at once",
              permission="api-keys:write", query=InEnvironment, body=key_documents.BulkRevocation,
              answer=key_documents.Revoked, is_dangerous=True, tag="API keys"),
    Operation("list_expiring_api_keys", "GET", f"{_KEYS}/reports/expiring", api_keys.list_expiring,
              "List API keys that end within 30 days",
              permission="api-keys:read", query=InEnvironment, answer=key_documents.ApiKeyReport, tag="API keys"),
    Operation("list_unused_api_keys", "GET", f"{_KEYS}/reports/unused", api_keys.list_unused,
              "List API keys that nobody has used for 90 days",
              permission="api-keys:read", query=InEnvironment, answer=key_documents.ApiKeyReport, tag="API keys"),
    Operation("get_api_key", "GET", _KEY, api_keys.get, "Get an API key",
              permission="api-keys:read", query=InEnvironment, answer=key_documents.ApiKeyDocument, tag="API keys"),
    Operation("update_api_key", "PATCH", _KEY, api_keys.update, "Change an API key",
              permission="api-keys:write", query=InEnvironment, body=key_documents.ApiKeyChangesBody,
              answer=key_documents.ApiKeyDocument, is_dangerous=True, tag="API keys"),
    Operation("revoke_api_key", "DELETE", _KEY, api_keys.revoke, "Revoke an API key, at once",
              permission="api-keys:write", query=InEnvironment, status=204, is_dangerous=True, tag="API keys"),
    Operation("rotate_api_key", "POST", f"{_KEY}/rotate", api_keys.rotate, "Replace an API key, shown this once",
              permission="api-keys:write", query=InEnvironment, body=key_documents.Rotation,
              answer=key_documents.IssuedApiKey, status=201, is_dangerous=True, tag="API keys"),
    Operation("get_api_key_usage", "GET", f"{_KEY}/usage", api_keys.get_usage, "Get how an API key was used",
              permission="api-keys:read", query=InEnvironment, answer=key_documents.UsageDocument, tag="API keys"),

    Operation("list_clients", "GET", _CLIENTS, clients.list_clients, "List OAuth applications",
              permission="clients:read", query=EnvironmentPageQuery, answer=Page[clients.ClientDocument],
              tag="Clients"),
    Operation("create_client", "POST", _CLIENTS, clients.create, "Register an OAuth application",
              permission="clients:write", query=InEnvironment, body=clients.NewClient, answer=clients.IssuedClient,
              status=201, is_dangerous=True, tag="Clients"),
    Operation("get_client", "GET", _CLIENT, clients.get, "Get an OAuth application",
              permission="clients:read", query=InEnvironment, answer=clients.ClientWithSecrets, tag="Clients"),
    Operation("update_client", "PATCH", _CLIENT, clients.update, "Change an OAuth application",
              permission="clients:write", query=InEnvironment, body=clients.ClientChanges,
              answer=clients.IssuedClient, is_dangerous=True, tag="Clients"),
    Operation("delete_client", "DELETE", _CLIENT, clients.delete, "Delete an OAuth application",
              permission="clients:write", query=InEnvironment, status=204, is_dangerous=True, tag="Clients"),
    Operation("rotate_client_secret", "POST", f"{_CLIENT}/secrets", clients.rotate_secret,
              "Replace a client secret, shown this once",
              permission="clients:write", query=InEnvironment, body=clients.SecretRotation,
              answer=clients.IssuedSecret, status=201, is_dangerous=True, tag="Clients"),
    Operation("end_client_secret", "DELETE", f"{_CLIENT}/secrets/<secret_id>", clients.end_secret,
              "End a client secret now",
              permission="clients:write", query=InEnvironment, status=204, is_dangerous=True, tag="Clients"),

    Operation("list_audit_events", "GET", _AUDIT, audit_events.list_audit_events, "List audit events",
              permission="audit:read", query=audit_events.AuditEventQuery, answer=audit_events.AuditEventPage,
              tag="Audit log"),
    Operation("export_audit_events", "GET", f"{_AUDIT}/export", audit_events.export, "Export audit events",
              permission="audit:read", query=audit_events.AuditExportQuery, writes=True,
              media_types=("application/x-ndjson", "text/csv"), tag="Audit log"),

    *verify.OPERATIONS,
    *leaked_keys.OPERATIONS,
)  # fmt: skip
