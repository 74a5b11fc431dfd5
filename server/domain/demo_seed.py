"""The demo seed of `gatepost dev`: a person who has every standard claim, their organization, a client of each kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from server.domain.claims import DEMO_CLAIMS
from server.domain.client_registration import ClientMetadata, create_client
from server.domain.client_secrets import rotate_client_secret, verify_client_secret
from server.domain.clients import Client, find_client
from server.domain.membership_records import OWNER
from server.domain.memberships import add_member, find_membership
from server.domain.organizations import create_organization, find_demo_organization
from server.domain.passwords import set_password, verify_password
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User, create_user, find_user_by_email, get_user
from server.infra import secrets

EMAIL: Final = "demo@example.com"
ORGANIZATION: Final = "Demo organization"
WEB, SPA, MACHINE = "demo-web", "demo-spa", "demo-machine"


@dataclass(frozen=True)
class DemoCredentials:
    """What the demo person and clients sign in with; kept in a file of the developer's, as the database has digests."""

    password: str
    web_secret: str
    machine_secret: str


def seed(work: UnitOfWork, redirect_uri: str, kept: DemoCredentials | None) -> DemoCredentials:
    """Makes whatever is missing. Credentials that still fit are kept, others are renewed. Idempotent."""
    clients = {metadata.client_id: _ensure_client(work, metadata) for metadata in _metadata(redirect_uri)}
    password = ensure_password(work, kept.password if kept else None)
    _ensure_organization(work, get_user(work, EMAIL))
    return DemoCredentials(
        password=password,
        web_secret=ensure_secret(work, clients[WEB], kept.web_secret if kept else None),
        machine_secret=ensure_secret(work, clients[MACHINE], kept.machine_secret if kept else None),
    )


def _metadata(redirect_uri: str) -> tuple[ClientMetadata, ...]:
    everything = "openid profile email address phone offline_access"
    return (
        ClientMetadata(
            "Demo web app",
            "web",
            WEB,
            (redirect_uri,),
            scope=everything,
            client_uri="https://app.example/",
            policy_uri="https://app.example/privacy",
            tos_uri="https://app.example/terms",
            is_demo=True,
        ),
        ClientMetadata("Demo single-page app", "spa", SPA, (redirect_uri,), scope=everything, is_demo=True),
        ClientMetadata("Demo machine", "machine", MACHINE, is_demo=True),
    )


def _ensure_client(work: UnitOfWork, metadata: ClientMetadata) -> Client:
    client = find_client(work, metadata.client_id or "")
    if client is None:
        return create_client(work, metadata)
    # Another port than last time.
    client.redirect_uris = list(metadata.redirect_uris)
    return client


def _ensure_organization(work: UnitOfWork, owner: User) -> None:
    organization = find_demo_organization(work)
    if organization is None:
        create_organization(work, ORGANIZATION, owner=owner, is_demo=True)
    elif find_membership(work, organization.id, owner.id) is None:
        # The developer has removed the person meanwhile.
        add_member(work, organization, owner, OWNER)


def ensure_secret(work: UnitOfWork, client: Client, kept: str | None) -> str:
    """The client's secret: the kept one if it still fits, else a new one and no other."""
    if kept is not None and verify_client_secret(work, client, kept):
        return kept
    return rotate_client_secret(work, client, overlap_seconds=0)


def ensure_password(work: UnitOfWork, kept: str | None) -> str:
    """The demo person's password, as `ensure_secret`; makes the person where there is none."""
    user = find_user_by_email(work, EMAIL)
    if user is None:
        user = create_user(work, EMAIL, name="Demo Person", claims=DEMO_CLAIMS, email_verified=True, is_demo=True)
    elif kept is not None and verify_password(work, user, kept):
        return kept
    password = "-".join(secrets.new_id()[:5] for _ in range(3))
    set_password(work, user, password)
    return password
