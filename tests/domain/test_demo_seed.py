"""The demo seed: made once, found again, repaired where it no longer fits."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from server.domain import demo_seed
from server.domain.client_secrets import rotate_client_secret, verify_client_secret
from server.domain.clients import get_client, has_demo_client, list_clients
from server.domain.demo_seed import EMAIL, MACHINE, SPA, WEB, DemoCredentials
from server.domain.memberships import add_member, list_memberships_of, remove_member
from server.domain.organizations import list_organizations, update_organization
from server.domain.passwords import set_password, verify_password
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import get_user, has_demo_user, list_users

CALLBACK = "http://localhost:8000/dev/try/callback"


def fits(work: UnitOfWork, credentials: DemoCredentials) -> bool:
    return (
        verify_password(work, get_user(work, EMAIL), credentials.password)
        and verify_client_secret(work, get_client(work, WEB), credentials.web_secret)
        and verify_client_secret(work, get_client(work, MACHINE), credentials.machine_secret)
    )


@pytest.fixture
def credentials(work: UnitOfWork) -> DemoCredentials:
    return demo_seed.seed(work, CALLBACK, None)


def test_seed_makes_a_person_and_one_client_of_each_kind(work: UnitOfWork, credentials: DemoCredentials) -> None:
    assert fits(work, credentials)
    assert re.fullmatch(r"[0-9A-Za-z]{5}(-[0-9A-Za-z]{5}){2}", credentials.password)
    user = get_user(work, EMAIL)
    assert (user.is_demo, user.email_verified) == (True, True)
    kinds = {client.id: (client.client_type, client.is_public, client.is_demo) for client in list_clients(work)}
    assert kinds == {WEB: ("web", False, True), SPA: ("spa", True, True), MACHINE: ("machine", False, True)}
    assert get_client(work, WEB).redirect_uris == get_client(work, SPA).redirect_uris == [CALLBACK]
    assert has_demo_user(work)
    assert has_demo_client(work)


def test_seed_makes_an_organization_that_the_person_owns_once(work: UnitOfWork, credentials: DemoCredentials) -> None:
    person = get_user(work, EMAIL)
    for _ in range(2):
        ((membership, organization),) = list_memberships_of(work, person.id)
        assert (membership.role, organization.name, organization.is_demo) == ("owner", "Demo organization", True)
        update_organization(work, organization, name="Demo organization", slug="another")
        demo_seed.seed(work, CALLBACK, credentials)
    assert len(list_organizations(work)) == 1


def test_seed_brings_the_person_back_when_the_developer_removed_them(
    work: UnitOfWork, credentials: DemoCredentials
) -> None:
    person = get_user(work, EMAIL)
    ((membership, organization),) = list_memberships_of(work, person.id)
    add_member(work, organization, get_user(work, "ada@example.com"), "owner")
    remove_member(work, membership)
    demo_seed.seed(work, CALLBACK, credentials)
    assert [each.role for each, _ in list_memberships_of(work, person.id)] == ["owner"]


def test_seed_keeps_what_fits_when_it_is_sown_again(work: UnitOfWork, credentials: DemoCredentials) -> None:
    people, clients = len(list_users(work)), len(list_clients(work))
    assert demo_seed.seed(work, CALLBACK, credentials) == credentials
    assert (len(list_users(work)), len(list_clients(work))) == (people, clients)


def test_seed_follows_when_the_port_is_another(work: UnitOfWork, credentials: DemoCredentials) -> None:
    demo_seed.seed(work, "http://localhost:8001/dev/try/callback", credentials)
    assert get_client(work, WEB).redirect_uris == ["http://localhost:8001/dev/try/callback"]
    assert get_client(work, SPA).redirect_uris == ["http://localhost:8001/dev/try/callback"]
    assert get_client(work, MACHINE).redirect_uris == []


def test_seed_renews_every_credential_when_none_were_kept(work: UnitOfWork, credentials: DemoCredentials) -> None:
    renewed = demo_seed.seed(work, CALLBACK, None)
    assert len({*vars(renewed).values(), *vars(credentials).values()}) == 6
    assert fits(work, renewed)
    assert not fits(work, credentials)


@pytest.mark.parametrize("spoilt", ["password", "web_secret", "machine_secret"])
def test_seed_renews_the_one_credential_that_no_longer_fits(
    work: UnitOfWork, credentials: DemoCredentials, spoilt: str
) -> None:
    kept = replace(credentials, **{spoilt: "something else"})
    renewed = demo_seed.seed(work, CALLBACK, kept)
    changed = {name for name, value in vars(renewed).items() if value != getattr(credentials, name)}
    assert changed == {spoilt}
    assert fits(work, renewed)


def test_seed_renews_what_the_developer_changed_meanwhile(work: UnitOfWork, credentials: DemoCredentials) -> None:
    set_password(work, get_user(work, EMAIL), "the developer's own")
    rotate_client_secret(work, get_client(work, WEB), 0)
    assert fits(work, demo_seed.seed(work, CALLBACK, credentials))
