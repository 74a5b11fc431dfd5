"""Rich access tokens: name and address as granted, the organization, and what the person's role in it allows."""

from __future__ import annotations

from typing import Any

import pytest

from server.domain.memberships import add_member
from server.domain.organizations import Organization, create_organization, suspend_organization
from server.domain.users import get_user
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, flow_of, jwt_claims

TOLD = {"name", "email", "email_verified", "organization_id", "permissions"}


@pytest.fixture
def gatepost(make_gatepost: GatepostMaker) -> Gatepost:
    return make_gatepost(scopes={"notes:read": "Read", "notes:purge": {"sentence": "Purge", "sensitive": True}})


def rich(gatepost: Gatepost, **metadata: Any) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",), access_token_claims="rich", **metadata)


def member(gatepost: Gatepost, role: str, slug: str = "acme") -> Organization:
    with gatepost.work() as work:
        organization = create_organization(work, slug, slug=slug)
        add_member(work, organization, get_user(work, "ada@example.com"), role)
    return organization


def told(flow: Flow, **request: str) -> dict[str, Any]:
    claims = jwt_claims(flow.tokens(**request)["access_token"])
    return {name: value for name, value in claims.items() if name in TOLD}


def test_token_tells_who_the_person_is_and_what_they_may_do(gatepost: Gatepost) -> None:
    acme = member(gatepost, "member")
    assert told(rich(gatepost)) == {
        "name": "Ada Example",
        "email": "ada@example.com",
        "email_verified": True,
        "organization_id": acme.id,
        "permissions": ["notes:read", "organizations:read", "roles:read", "users:read"],
    }


def test_token_tells_nothing_of_the_profile_but_the_name(gatepost: Gatepost) -> None:
    gatepost.change_user("ada@example.com", claims={"birthdate": "1815-12-10", "picture": "https://x.example/a.png"})
    names = {"iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope", "grant_id", "auth_time", "acr", "amr"}
    assert set(jwt_claims(rich(gatepost).tokens()["access_token"])) == names | {"name", "email", "email_verified"}


def test_token_tells_no_more_than_was_granted(gatepost: Gatepost) -> None:
    member(gatepost, "member")
    assert set(told(rich(gatepost), scope="openid")) == {"organization_id", "permissions"}
    assert "email" not in told(rich(gatepost, client_id="another"), scope="openid profile")


def test_token_tells_nothing_of_the_person_when_it_is_a_lean_one(gatepost: Gatepost) -> None:
    member(gatepost, "owner")
    assert told(flow_of(gatepost, redirect_uris=("https://app.example/cb",))) == {}


def test_refreshed_token_tells_what_is_true_by_then(gatepost: Gatepost) -> None:
    acme = member(gatepost, "owner")
    flow = rich(gatepost)
    token = flow.tokens()["refresh_token"]
    assert gatepost.audit_rows("refresh_token.rotated") == []
    with gatepost.work() as work:
        suspend_organization(work, work.db.merge(acme))
    claims = jwt_claims(flow.refresh(token).get_json()["access_token"])
    assert "permissions" not in claims
    assert claims["email"] == "ada@example.com"


def test_token_names_no_organization_when_there_are_several_or_none_that_counts(gatepost: Gatepost) -> None:
    flow = rich(gatepost)
    assert "organization_id" not in told(flow)
    first = member(gatepost, "owner")
    assert told(flow)["organization_id"] == first.id
    second = member(gatepost, "member", "second")
    assert "organization_id" not in told(flow)
    with gatepost.work() as work:
        suspend_organization(work, work.db.merge(second))
    assert told(flow)["organization_id"] == first.id


def test_token_names_the_clients_organization_and_only_for_its_members(gatepost: Gatepost) -> None:
    acme, other = member(gatepost, "member"), member(gatepost, "owner", "other")
    assert told(rich(gatepost, organization_id=acme.id))["organization_id"] == acme.id
    assert told(rich(gatepost, client_id="others", organization_id=other.id))["permissions"] == [
        "*",
        "notes:purge",
        "notes:read",
    ]
    with gatepost.work() as work:
        third = create_organization(work, "Third")
    assert "permissions" not in told(rich(gatepost, client_id="thirds", organization_id=third.id))


def test_no_claim_about_a_person_takes_the_place_of_one_about_the_token(gatepost: Gatepost) -> None:
    gatepost.change_user("ada@example.com", claims={"sub": "usr_x", "aud": "x", "scope": "*", "client_id": "x"})
    claims = jwt_claims(rich(gatepost).tokens()["access_token"])
    assert claims["sub"].startswith("usr_")
    assert claims["sub"] != "usr_x"
    assert "*" not in claims["scope"]
