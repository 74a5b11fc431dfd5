"""`/v1/me` and `/v1/users/me`: who the credential speaks for."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from server.domain.memberships import list_memberships_of
from server.domain.organizations import get_organization
from server.domain.usability import is_usable
from server.web.api.admission import Call
from server.web.api.documents import Document


class MyOrganization(Document):
    """An organization that the caller belongs to."""

    id: str
    name: str
    slug: str
    role: str | None = Field(description="The person's role there; `null` for keys and applications.")


class Me(Document):
    """Who asks."""

    type: Literal["user", "client", "api_key"]
    id: str = Field(description="The `sub` of a token, the id of an API key, or the id of a person.")
    name: str | None = Field(description="Of a person with the scope `profile`, of the key, or of the application.")
    email: str | None = Field(description="Of a person, with the scope `email`.")
    email_verified: bool | None
    organizations: list[MyOrganization] = Field(
        description="Those that the caller belongs to; of a person with the permission `organizations:read`."
    )
    environment: Literal["live", "test"] | None = Field(description="`null` for people, who choose it.")
    permissions: list[str] | None = Field(
        description="What the credential may do, patterns as they were granted; `null` at our own pages, where the "
        "person's roles decide."
    )
    expires_at: datetime | None


def me(call: Call) -> Me:
    """Whoever asks learns what we take them for."""
    caller = call.caller
    person = caller.user if caller.kind == "user" else None
    tells_name = person is not None and _tells(call, "profile")
    tells_email = person is not None and _tells(call, "email")
    return Me(
        type=caller.kind,
        id=caller.subject,
        name=person.name if person is not None and tells_name else _name_of_credential(call),
        email=person.email if person is not None and tells_email else None,
        email_verified=person.email_verified if person is not None and tells_email else None,
        organizations=_organizations(call),
        environment=caller.environment,
        permissions=sorted(caller.rights.granted) if caller.rights is not None else None,
        expires_at=caller.credential.expires_at if caller.credential is not None else None,
    )


def _tells(call: Call, scope: str) -> bool:
    return call.caller.session is not None or scope in call.caller.scope_set


def _name_of_credential(call: Call) -> str | None:
    if call.caller.key is not None:
        return call.caller.key.name
    is_itself = call.caller.kind == "client" and call.caller.client is not None
    return call.caller.client.client_name if is_itself and call.caller.client is not None else None


def _organizations(call: Call) -> list[MyOrganization]:
    caller = call.caller
    if caller.kind == "user" and caller.user is not None:
        if caller.rights is not None and not caller.rights.allows("organizations:read"):
            return []
        known = list_memberships_of(call.work, caller.user.id)
        return [
            MyOrganization(id=each.id, name=each.name, slug=each.slug, role=membership.role)
            for membership, each in known
            if is_usable(call.work.now, membership) and caller.organization_id in (None, each.id)
        ]
    if caller.organization_id is None:
        return []
    own = get_organization(call.work, caller.organization_id)
    return [MyOrganization(id=own.id, name=own.name, slug=own.slug, role=None)]
