"""For which organization does a credential speak at a gateway, and what may it do there?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.domain.memberships import find_membership
from server.domain.organization_clients import reach_of_token
from server.domain.organizations import Organization, find_organization
from server.domain.roles import rights_of_member
from server.domain.scopes import Rights
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.protocol.credentials import VerifiedCredential
from server.web.api.error_answers import Refusal


class ForeignOrganization(Refusal):
    """The credential does not belong to an organization that was named, or no longer."""

    def __init__(self, sentence: str = "The credential does not belong to the organization that was named.") -> None:
        super().__init__(403, sentence)


def enter_organization(
    work: UnitOfWork, credential: VerifiedCredential, required: frozenset[str], environ: Mapping[str, Any]
) -> tuple[str | None, Rights]:
    """The organization's id, if there is one, and the rights that the credential has there.

    Args:
        work: the work, on behalf of whoever asks.
        credential: the credential, verified.
        required: ids that the gateway names.
        environ: the request; its client may name one too.

    Raises:
        Refusal: 400 when the client must name one and does not.
        ForeignOrganization: when one that is named is not the credential's, or it is good for nothing in its own.
    """
    name = work.settings.organization_header
    by_client = environ.get("HTTP_" + name.upper().replace("-", "_"))
    if by_client is None and credential.key is not None and work.settings.organization_header_required:
        raise Refusal(400, f"The header {name} is missing: it names the organization that the API key belongs to.")
    organization_id, rights = _own(work, credential)
    own = rights
    for named in sorted(required if by_client is None else required | {by_client}):
        if not _is_own(credential, named):
            organization = find_organization(work, named)
            found = _rights_in(work, credential, organization, own) if organization is not None else None
            if organization is None or found is None or credential.organization_id not in (None, organization.id):
                raise ForeignOrganization
            organization_id, rights = organization.id, found
    return organization_id, rights


def _own(work: UnitOfWork, credential: VerifiedCredential) -> tuple[str | None, Rights]:
    """The credential's own organization and its rights there, whatever anybody names; a key was bounded already."""
    if credential.client is None:
        return credential.organization_id, credential.rights
    reach = reach_of_token(work, credential.client, credential.user, credential.rights)
    if reach is None:
        raise ForeignOrganization("Whoever this credential stands for no longer acts in the organization.")
    return reach


def _is_own(credential: VerifiedCredential, named: str) -> bool:
    """Whether it is the credential's own, as far as no database is needed to know; a person's token has none."""
    if credential.user is not None:
        return False
    key = credential.key
    own = {credential.organization_id, key.organization.slug if key is not None else None}
    return named in own


def _rights_in(
    work: UnitOfWork, credential: VerifiedCredential, organization: Organization, own: Rights
) -> Rights | None:
    if credential.user is None:
        return own if organization.id == credential.organization_id else None
    membership = find_membership(work, organization.id, credential.user.id)
    if membership is None or not is_usable(work.now, organization, membership):
        return None
    return credential.rights.within(rights_of_member(work, membership))
