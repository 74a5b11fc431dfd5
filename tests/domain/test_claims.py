"""Claims: opened by their scope, absent when unknown."""

from __future__ import annotations

import pytest

from server.domain.claims import CLAIMS_OF_SCOPE, DEMO_CLAIMS, claims_of
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import make_user


@pytest.mark.spec("OpenID Connect Core §5.4")
@pytest.mark.parametrize("scope", ["profile", "email", "address", "phone"])
def test_scope_opens_its_claims_and_no_others(work: UnitOfWork, scope: str) -> None:
    user = make_user(work, name="Demo Person", claims=DEMO_CLAIMS, email_verified=True)
    assert set(claims_of(user, [scope])) == set(CLAIMS_OF_SCOPE[scope])


@pytest.mark.spec("OpenID Connect Core §5.1")
def test_every_standard_claim_is_filled_for_the_demo_person(work: UnitOfWork) -> None:
    user = make_user(work, name="Demo Person", claims=DEMO_CLAIMS)
    found = claims_of(user, CLAIMS_OF_SCOPE)
    assert set(found) == {
        *("name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile", "picture"),
        *("website", "gender", "birthdate", "zoneinfo", "locale", "updated_at", "email", "email_verified", "address"),
        *("phone_number", "phone_number_verified"),
    }
    assert found["updated_at"] == int(user.updated_at.timestamp())
    assert isinstance(found["address"], dict)


@pytest.mark.parametrize("scopes", [[], ["openid"], ["offline_access"], ["notes:read"]])
def test_nothing_is_told_when_no_scope_opens_it(work: UnitOfWork, scopes: list[str]) -> None:
    assert claims_of(make_user(work, claims=DEMO_CLAIMS), scopes) == {}


@pytest.mark.spec("OpenID Connect Core §5.3.2")
def test_what_is_not_known_is_absent_and_never_null(work: UnitOfWork) -> None:
    user = make_user(work, claims={"nickname": "", "locale": None, "phone_number_verified": False})
    assert set(claims_of(user, ["profile", "phone"])) == {"updated_at", "phone_number_verified"}


def test_unverified_address_is_told_to_be_unverified(work: UnitOfWork) -> None:
    assert claims_of(make_user(work), ["email"]) == {"email": "grace@example.com", "email_verified": False}


def test_columns_win_over_claims_of_the_same_name(work: UnitOfWork) -> None:
    user = make_user(
        work, name="Grace", claims={"name": "Mallory", "email": "m@x.y", "email_verified": True, "sub": "x"}
    )
    found = claims_of(user, ["profile", "email"])
    assert (found["name"], found["email"], found["email_verified"]) == ("Grace", "grace@example.com", False)
    assert "sub" not in found
