"""The clients of an organization: bounded by whoever makes them, and nobody else's."""

from __future__ import annotations

import pytest

from server.domain.client_registration import ClientMetadata
from server.domain.clients import MAKER_GONE, Client
from server.domain.deletion import delete_user
from server.domain.errors import Denied, Invalid, NotFound
from server.domain.memberships import add_member
from server.domain.organization_clients import (
    change_organization_client,
    check_reach,
    create_organization_client,
    get_organization_client,
    list_organization_clients,
    rights_of_client,
)
from server.domain.organizations import Organization, create_organization
from server.domain.policy.environments import Environment
from server.domain.scopes import Rights, rights
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import make_user


@pytest.fixture
def ours(work: UnitOfWork) -> Organization:
    return create_organization(work, "Ours")


def maker(work: UnitOfWork, *granted: str) -> Rights:
    return rights(work.settings, granted)


def make(
    work: UnitOfWork,
    organization: Organization,
    bounds: Rights,
    scope: str = "clients:read",
    environment: Environment = "live",
    **metadata: object,
) -> Client:
    asked = ClientMetadata(
        "A machine", "machine", scope=scope, organization_id=organization.id, environment=environment, **metadata
    )
    return create_organization_client(work, asked, bounds)[0]


@pytest.mark.spec("K-11")
@pytest.mark.parametrize(
    ("granted", "scope", "fits"),
    [
        (("clients:read",), "clients:read", True),
        (("clients:*",), "clients:read clients:write", True),
        (("*",), "*", True),
        (("clients:read",), "clients:write", False),
        (("clients:read",), "clients:*", False),
        (("clients:*",), "*", False),
        ((), "clients:read", False),
        ((), "", True),
    ],
)
def test_client_gets_no_more_than_its_maker_has(
    work: UnitOfWork, ours: Organization, granted: tuple[str, ...], scope: str, fits: bool
) -> None:
    if fits:
        assert make(work, ours, maker(work, *granted), scope).scope == scope
        return
    with pytest.raises(Denied):
        make(work, ours, maker(work, *granted), scope)
    assert list_organization_clients(work, ours.id, "live") == []


def test_scopes_about_people_are_theirs_to_give(work: UnitOfWork, ours: Organization) -> None:
    asked = ClientMetadata(
        "Shop", "spa", redirect_uris=("https://a.example/",), scope="openid email", organization_id=ours.id
    )
    client, secret = create_organization_client(work, asked, maker(work))
    assert (client.scope, secret) == ("openid email", None)


@pytest.mark.spec("K-11")
def test_what_is_the_operators_to_decide_is_not_the_organizations(work: UnitOfWork, ours: Organization) -> None:
    everything = maker(work, "*")
    asked = {"is_first_party": True, "may_introspect_any": True, "is_demo": True, "client_id": "chosen"}
    client = make(work, ours, everything, **asked)
    assert [client.is_first_party, client.may_introspect_any, client.is_demo] == [False] * 3
    assert client.id != "chosen"
    for name, value in (*asked.items(), ("require_pkce", False), ("organization_id", "org_x"), ("environment", "test")):
        with pytest.raises(Invalid) as refusal:
            change_organization_client(work, client, {name: value}, everything)
        assert refusal.value.field == name


@pytest.mark.spec("K-11")
@pytest.mark.parametrize(
    "changes",
    [{"client_name": "Mine"}, {"scope": ""}, {"scope": "clients:read audit:read"}, {"jwt_authentication": True}],
)
def test_client_that_may_do_more_is_not_changed(
    work: UnitOfWork, ours: Organization, changes: dict[str, object]
) -> None:
    client = make(work, ours, maker(work, "*"), "clients:read audit:read")
    with pytest.raises(Denied, match="audit:read"):
        change_organization_client(work, client, changes, maker(work, "clients:*"))
    assert (client.client_name, client.scope) == ("A machine", "audit:read clients:read")


@pytest.mark.spec("K-11")
def test_client_grows_no_further_than_whoever_changes_it(work: UnitOfWork, ours: Organization) -> None:
    client = make(work, ours, maker(work, "*"))
    with pytest.raises(Denied, match="audit:read"):
        change_organization_client(work, client, {"scope": "clients:read audit:read"}, maker(work, "clients:*"))
    change_organization_client(work, client, {"scope": "clients:read clients:write"}, maker(work, "clients:*"))
    assert client.scope == "clients:read clients:write"


@pytest.mark.parametrize("right", ["is_first_party", "may_introspect_any"])
def test_client_with_the_operators_trust_is_out_of_reach(work: UnitOfWork, ours: Organization, right: str) -> None:
    client = make(work, ours, maker(work, "*"))
    setattr(client, right, True)
    with pytest.raises(Denied, match="operator"):
        check_reach(client, maker(work, "*"))


def test_sector_of_pairwise_subjects_stays(work: UnitOfWork, ours: Organization) -> None:
    asked = ClientMetadata(
        "Shop", "spa", redirect_uris=("https://a.example/",), subject_type="pairwise", organization_id=ours.id
    )
    client, _ = create_organization_client(work, asked, maker(work, "*"))
    with pytest.raises(Invalid) as refusal:
        change_organization_client(work, client, {"redirect_uris": ("https://b.example/",)}, maker(work, "*"))
    assert refusal.value.field == "redirect_uris"


@pytest.mark.spec("K-10")
def test_client_is_found_where_it_belongs_alone(work: UnitOfWork, ours: Organization) -> None:
    theirs = create_organization(work, "Theirs")
    client = make(work, ours, maker(work, "*"), environment="test")
    assert get_organization_client(work, ours.id, "test", client.id) is client
    assert list(list_organization_clients(work, ours.id, "test")) == [client]
    for organization, environment in ((ours, "live"), (theirs, "test"), (theirs, "live")):
        assert client not in list_organization_clients(work, organization.id, environment)  # type: ignore[arg-type]
        with pytest.raises(NotFound):
            get_organization_client(work, organization.id, environment, client.id)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        get_organization_client(work, ours.id, "test", "no such client")


@pytest.mark.spec("K-12")
def test_client_has_no_rights_left_when_its_maker_is_gone(work: UnitOfWork, ours: Organization) -> None:
    person = make_user(work, "developer@example.com")
    add_member(work, ours, person, "developer")
    client = make(work, ours, maker(work, "*"), "clients:read organizations:delete", created_by=person.id)
    given = maker(work, "clients:read", "organizations:delete")
    within = rights_of_client(work, client, given)
    assert within is not None
    assert (within.allows("clients:read"), within.allows("organizations:delete")) == (True, False)
    add_member(work, ours, make_user(work, "owner@example.com"), "owner")
    delete_user(work, person)
    work.db.refresh(client)
    assert client.created_by == MAKER_GONE
    assert rights_of_client(work, client, given) is None
