"""`/v1/organizations/{organization}/roles`: sets of permissions, built-in ones and the organization's own."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from server.domain import roles
from server.domain.errors import Conflict, NotFound
from server.domain.roles import RoleView
from server.web.api.admission import Call
from server.web.api.documents import Body, Document, Sentences, Text

Permissions = Annotated[list[Annotated[Text, Field(min_length=1, max_length=128)]], Field(min_length=1, max_length=200)]


class RoleDocument(Document):
    """A role."""

    id: str | None = Field(description="`null` for a built-in role, which is named and never changes.")
    name: str
    title: str
    description: str
    permissions: list[str]
    is_built_in: bool


class RoleList(Document):
    """All roles of the organization."""

    data: list[RoleDocument]


class NewRole(Body):
    """A role to make. It has at most what its maker may do."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "auditor", "permissions": ["audit:read"]}]})

    name: str = Field(
        pattern="^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$", description="Lower-case letters, digits and hyphens, for good."
    )
    permissions: Permissions
    description: Sentences = ""


class RoleChanges(Body):
    """What changes; the rest stays."""

    permissions: Permissions | None = None
    description: Sentences | None = None


def list_roles(call: Call) -> RoleList:
    """All of them: the built-in ones, then the organization's own."""
    return RoleList(data=[_document(each) for each in roles.list_roles(call.work, call.organization.id)])


def create(call: Call) -> RoleDocument:
    """Makes one."""
    body: NewRole = call.body
    role = roles.create_role(
        call.work,
        call.organization,
        body.name,
        body.permissions,
        body.description,
        maker_rights=call.allowed,
    )
    return _shown(call, role.name)


def update(call: Call, role_id: str) -> RoleDocument:
    """Changes one for everybody who has it, at once."""
    body: RoleChanges = call.body
    role = _own_role(call, role_id)
    roles.update_role(
        call.work, role, permissions=body.permissions, description=body.description, maker_rights=call.allowed
    )
    return _shown(call, role.name)


def delete(call: Call, role_id: str) -> None:
    """Removes one that nobody has."""
    roles.delete_role(call.work, _own_role(call, role_id))


def _own_role(call: Call, role_id: str) -> roles.CustomRole:
    if any(each.is_built_in and each.name == role_id for each in roles.list_roles(call.work, call.organization.id)):
        raise Conflict("This role is built in and does not change.")
    return roles.get_role(call.work, call.organization.id, role_id)


def _shown(call: Call, name: str) -> RoleDocument:
    for each in roles.list_roles(call.work, call.organization.id):
        if each.name == name:
            return _document(each)
    raise NotFound("There is no such role.")


def _document(role: RoleView) -> RoleDocument:
    return RoleDocument(
        id=role.id,
        name=role.name,
        title=role.title,
        description=role.sentence,
        permissions=list(role.permissions),
        is_built_in=role.is_built_in,
    )
