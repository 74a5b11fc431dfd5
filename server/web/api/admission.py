"""May they? The organization and environment of a request, and what the caller may do there.

What belongs to another organization or another environment is not there (404), so that nobody learns what exists; what
is there but not the caller's to do is forbidden (403).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from flask import request

from server.domain import organization_clients
from server.domain.memberships import find_membership
from server.domain.organizations import Organization, find_organization
from server.domain.policy.environments import Environment
from server.domain.roles import rights_of_member
from server.domain.scopes import Rights
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.users import User
from server.web.api.authentication import Caller, check_recent, note_refusal
from server.web.api.documents import InEnvironment, Query
from server.web.api.error_answers import Refusal
from server.web.api.operation import WRITING, Operation
from server.web.context import current_work

#: What an id or slug can be; nothing else is looked up.
PATH_ARGUMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")


@dataclass(frozen=True)
class Call:
    """One admitted request, as a view sees it."""

    work: UnitOfWork
    caller: Caller
    #: What the caller may do here.
    rights: Rights | None
    found_organization: Organization | None
    environment: Environment
    query: Any = None
    body: Any = None
    path: dict[str, str] = field(default_factory=dict)

    @property
    def organization(self) -> Organization:
        """The organization of the path."""
        assert self.found_organization is not None  # only operations in an organization ask
        return self.found_organization

    @property
    def allowed(self) -> Rights:
        """What the caller may do in that organization."""
        assert self.rights is not None  # only operations in an organization ask
        return self.rights

    @property
    def answerable(self) -> User | None:
        """Whose rights bound what the caller makes; None for what an operator made."""
        client = self.caller.client
        if self.caller.user is not None or client is None:
            return self.caller.user
        return organization_clients.find_maker(self.work, client)

    @property
    def person(self) -> User:
        """The person who asks, of operations for people."""
        assert self.caller.user is not None  # admitted as a person
        return self.caller.user


def admit(operation: Operation, caller: Caller, query: Query | None, path: dict[str, str]) -> Call:
    """The call, if the caller may make it.

    Raises:
        Refusal: 400, 403 or 404 with the sentence that helps.
    """
    work = current_work()
    named = _check_header(work, caller)
    environment = _environment(caller, query)
    if operation.is_dangerous:
        check_recent(caller)
    if operation.access == "person" and (caller.user is None or caller.kind != "user"):
        raise _forbidden(operation, caller, "only people do this: sign in, or use an access token of a person")
    organization, rights = None, caller.rights
    if operation.access == "organization":
        organization, rights = _enter(work, caller, path.pop("organization"), named)
        if operation.permission is not None and not rights.allows(operation.permission):
            place = {"organization_id": organization.id, "environment": environment}
            reason = f"it needs the permission {operation.permission}"
            raise _forbidden(operation, caller, reason, operation.permission, **place)
    elif operation.permission is not None and rights is not None and not rights.allows(operation.permission):
        raise _forbidden(operation, caller, f"it needs the permission {operation.permission}", operation.permission)
    if caller.environment == "test" and operation.method in WRITING and not operation.is_in_environment:
        # What belongs to no environment is live, whoever asks (K-10).
        note_refusal(caller, "environment", operation=operation.name)
        raise Refusal(403, "A test credential changes test data alone: this is the same in both environments.")
    return Call(work, caller, rights, organization, environment, query, path=path)


def rights_in(work: UnitOfWork, caller: Caller, organization: Organization) -> Rights | None:
    """What the caller may do in the organization; None when they do not belong to it."""
    if caller.organization_id not in (None, organization.id):
        return None
    if caller.kind != "user" or caller.user is None:
        return _rights_of_credential(work, caller) if caller.organization_id == organization.id else None
    membership = find_membership(work, organization.id, caller.user.id)
    if membership is None or not is_usable(work.now, membership):
        return None
    by_role = rights_of_member(work, membership)
    return by_role if caller.rights is None else caller.rights.within(by_role)


def _rights_of_credential(work: UnitOfWork, caller: Caller) -> Rights | None:
    """What a credential may do in its own organization; a key was held to its owner's role when it was verified."""
    if caller.client is None or caller.rights is None:
        return caller.rights
    return organization_clients.rights_of_client(work, caller.client, caller.rights)


def _check_header(work: UnitOfWork, caller: Caller) -> Organization | None:
    """The organization that the header names, if there is one; a credential is good for its own alone."""
    name = work.settings.organization_header
    named = request.headers.get(name)
    if named is None:
        if caller.key is not None and work.settings.organization_header_required:
            raise Refusal(400, f"The header {name} is missing: it names the organization that the API key belongs to.")
        return None
    organization = find_organization(work, named) if PATH_ARGUMENT.fullmatch(named) else None
    if organization is None or rights_in(work, caller, organization) is None:
        note_refusal(caller, "organization_header")
        raise Refusal(403, f"The credential does not belong to the organization that the header {name} names.")
    return organization


def _environment(caller: Caller, query: Query | None) -> Environment:
    asked: Environment | None = query.environment if isinstance(query, InEnvironment) else None
    if caller.environment is None:
        return asked or "live"
    if asked not in (None, caller.environment):
        note_refusal(caller, "environment")
        raise Refusal(404, f"The credential belongs to the environment {caller.environment}; it sees no other.")
    return caller.environment


def _enter(
    work: UnitOfWork, caller: Caller, id_or_slug: str, named: Organization | None
) -> tuple[Organization, Rights]:
    organization = find_organization(work, id_or_slug)
    rights = rights_in(work, caller, organization) if organization is not None else None
    if organization is None or rights is None:
        if organization is not None:
            note_refusal(caller, "organization")
        raise Refusal(404, "There is no such organization, or you do not belong to it.")
    if named is not None and named.id != organization.id:
        raise Refusal(403, f"The path and the header {work.settings.organization_header} name two organizations.")
    if not is_usable(work.now, organization):
        raise Refusal(403, "The organization is suspended.")
    return organization, rights


def _forbidden(operation: Operation, caller: Caller, reason: str, scope: str | None = None, **place: str) -> Refusal:
    """403, the challenge that names what is missing (RFC 6750 §3.1), and the row."""
    code = "insufficient_scope" if scope is not None else "not_a_person"
    note_refusal(caller, code, operation=operation.name, needed=scope, **place)
    headers = {}
    if scope is not None:
        realm = current_work().settings.issuer
        headers["WWW-Authenticate"] = f'Bearer realm="{realm}", error="insufficient_scope", scope="{scope}"'
    return Refusal(403, f"You may not do this: {reason}.", headers)
