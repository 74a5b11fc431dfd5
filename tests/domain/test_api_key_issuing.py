"""Making API keys: within their maker's rights and life, rotated once, and never shown again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from server.domain.api_key_issuing import (
    MAXIMUM_OVERLAP,
    OPERATOR_MAKER,
    Maker,
    rotate_api_key,
    update_api_key,
)
from server.domain.api_key_verification import KeyRefused, verify_api_key
from server.domain.api_keys import ApiKey, list_api_keys, revoke_api_key
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Denied, Invalid, NotFound
from server.domain.organizations import Organization, create_organization, suspend_organization
from server.domain.policy import api_key_format
from server.domain.scopes import rights
from server.domain.unit_of_work import UnitOfWork
from tests.domain.api_key_factories import make_api_key, make_member, maker_of
from tests.domain.factories import audited, last_audited, make_user
from tests.support.clock import FrozenClock

DAY = timedelta(days=1)


@pytest.fixture
def organization(work: UnitOfWork) -> Organization:
    return create_organization(work, "Acme")


def works(work: UnitOfWork, text: str) -> bool:
    try:
        verify_api_key(work, text)
    except KeyRefused:
        return False
    return True


@pytest.mark.spec("K-01", "K-03")
def test_key_is_made_in_its_form_and_only_its_digest_is_kept(work: UnitOfWork, organization: Organization) -> None:
    key, text = make_api_key(work, organization)
    parsed = api_key_format.parse([key.prefix], text)
    assert parsed is not None
    assert (key.public_id, key.hint, key.prefix) == (parsed.public_id, text[-4:], "gp_live_")
    stored = [str(getattr(key, column.name)) for column in ApiKey.__table__.columns]
    assert not [each for each in stored if text[18:40] in each]
    assert works(work, text)
    row = last_audited(work, AuditEvent.API_KEY_CREATED)
    assert (row.organization_id, row.environment) == (organization.id, "live")
    assert row.details["key_id"] == key.id
    assert text[18:40] not in str(row.details)


@pytest.mark.parametrize(
    ("kind", "environment", "prefix"),
    [
        ("standard", "live", "gp_live_"),
        ("standard", "test", "gp_test_"),
        ("restricted", "live", "gp_rk_live_"),
        ("restricted", "test", "gp_rk_test_"),
        ("scim", "live", "gp_scim_live_"),
        ("scim", "test", "gp_scim_test_"),
    ],
)
def test_key_begins_as_its_kind_and_environment_do(
    work: UnitOfWork, organization: Organization, kind: str, environment: str, prefix: str
) -> None:
    permissions = ["scim"] if kind == "scim" else ["users:read"]
    key, text = make_api_key(work, organization, kind=kind, environment=environment, permissions=permissions)
    assert text.startswith(prefix)
    assert (key.kind, key.environment) == (kind, environment)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "turned \u202e round"}, "name"),
        ({"description": "x" * 501}, "description"),
        ({"environment": "staging"}, "environment"),
        ({"kind": "root"}, "kind"),
        ({"permissions": []}, "permissions"),
        ({"permissions": ["no:such:thing"]}, "permissions"),
        ({"permissions": ["openid"]}, "permissions"),
        ({"permissions": ["email", "users:read"]}, "permissions"),
        ({"permissions": ["scim"]}, "permissions"),
        ({"kind": "scim", "permissions": ["scim", "users:read"]}, "permissions"),
        ({"kind": "restricted", "permissions": ["users:*"]}, "permissions"),
        ({"kind": "restricted", "permissions": ["*"]}, "permissions"),
        ({"kind": "restricted", "permissions": ["users:write"]}, "permissions"),
        ({"kind": "restricted", "permissions": ["organizations:delete"]}, "permissions"),
        ({"expires_at": timedelta(0)}, "expires_at"),
        ({"expires_at": -DAY}, "expires_at"),
        ({"expires_at": DAY, "never_expires": True}, "expires_at"),
        ({"ip_allow_list": ["everywhere"]}, "ip_allow_list"),
        ({"ip_allow_list": ["203.0.113.7/24"]}, "ip_allow_list"),
        ({"ip_allow_list": [f"192.0.2.{n}" for n in range(101)]}, "ip_allow_list"),
        ({"rate_limit_per_minute": 0}, "rate_limit_per_minute"),
        ({"rate_limit_per_minute": 1_000_001}, "rate_limit_per_minute"),
    ],
)
def test_key_is_not_made_when_something_does_not_fit(
    work: UnitOfWork, organization: Organization, values: dict[str, Any], field: str
) -> None:
    if isinstance(values.get("expires_at"), timedelta):
        values = {**values, "expires_at": work.now + values["expires_at"]}
    with pytest.raises(Invalid) as caught:
        make_api_key(work, organization, **values)
    assert caught.value.field == field
    assert list_api_keys(work, organization.id, "live") == []


def test_key_is_not_made_when_the_organization_has_been_removed(work: UnitOfWork, organization: Organization) -> None:
    work.db.flush()
    work.db.execute(delete(Organization))
    with pytest.raises(NotFound):
        make_api_key(work, organization)


def test_key_is_not_made_when_the_organization_is_suspended(work: UnitOfWork, organization: Organization) -> None:
    key, _ = make_api_key(work, organization)
    suspend_organization(work, organization)
    with pytest.raises(Denied):
        make_api_key(work, organization)
    with pytest.raises(Denied):
        rotate_api_key(work, key, 0, OPERATOR_MAKER)


def test_key_ends_after_ninety_days_at_a_given_time_or_never(work: UnitOfWork, organization: Organization) -> None:
    assert make_api_key(work, organization)[0].expires_at == work.now + 90 * DAY
    assert make_api_key(work, organization, expires_at=work.now + DAY)[0].expires_at == work.now + DAY
    assert make_api_key(work, organization, never_expires=True)[0].expires_at is None


# No more than its maker has (K-11) -----------------------------------------------------------------------------------


@pytest.mark.spec("K-11")
@pytest.mark.parametrize("wanted", ["*", "users:*", "users:write", "organizations:delete", "*:read"])
@pytest.mark.spec("INV-32")
def test_key_has_no_more_rights_than_its_maker(work: UnitOfWork, organization: Organization, wanted: str) -> None:
    maker = maker_of(work, organization, make_member(work, organization, "developer"))
    with pytest.raises(Denied, match="no more than whoever makes it"):
        make_api_key(work, organization, maker, permissions=["users:read", wanted])
    assert make_api_key(work, organization, maker, permissions=["users:read"])[0].owner_id == maker.owner.id  # type: ignore[union-attr]


@pytest.mark.spec("K-11")
def test_key_made_with_a_key_lives_no_longer_and_has_no_more(work: UnitOfWork, organization: Organization) -> None:
    own = rights(work.settings, ["api-keys:write", "users:read"])
    maker = Maker(own, None, expires_at=work.now + DAY)
    assert make_api_key(work, organization, maker)[0].expires_at == work.now + DAY
    assert make_api_key(work, organization, maker, expires_at=work.now + DAY)[0].expires_at == work.now + DAY
    for values in ({"never_expires": True}, {"expires_at": work.now + DAY + timedelta(seconds=1)}):
        with pytest.raises(Denied, match="no longer than"):
            make_api_key(work, organization, maker, **values)
    with pytest.raises(Denied):
        make_api_key(work, organization, maker, permissions=["users:write"])


@pytest.mark.spec("K-11")
def test_key_for_scim_is_made_by_those_who_manage_people(work: UnitOfWork, organization: Organization) -> None:
    scim = {"kind": "scim", "permissions": ["scim"]}
    developer = maker_of(work, organization, make_member(work, organization, "developer"))
    with pytest.raises(Denied):
        make_api_key(work, organization, developer, **scim)
    admin = maker_of(work, organization, make_member(work, organization, "admin", "admin@example.com"))
    key, _ = make_api_key(work, organization, admin, **scim)
    with pytest.raises(Denied):
        rotate_api_key(work, key, 0, developer)
    assert rotate_api_key(work, key, 0, admin)[0].permissions == ["scim"]


@pytest.mark.spec("K-11")
def test_key_for_scim_is_changed_by_those_who_manage_people(work: UnitOfWork, organization: Organization) -> None:
    key, _ = make_api_key(work, organization, kind="scim", permissions=["scim"], ip_allow_list=["192.0.2.7"])
    developer = maker_of(work, organization, make_member(work, organization, "developer"))
    with pytest.raises(Denied, match="users:delete, users:write"):
        update_api_key(work, key, developer, ip_allow_list=[])
    assert (key.ip_allow_list, audited(work, AuditEvent.API_KEY_UPDATED)) == (["192.0.2.7"], [])
    admin = maker_of(work, organization, make_member(work, organization, "admin", "admin@example.com"))
    update_api_key(work, key, admin, ip_allow_list=[])
    assert key.ip_allow_list == []


# Nor from elsewhere or more often, when a key makes it (K-09, K-11, K-15) --------------------------------------------

INSIDE = Maker(None, None, ip_allow_list=("10.1.0.0/16", "2001:db8::/32"), rate_limit_per_minute=30)


@pytest.mark.spec("K-09", "K-11", "K-15")
def test_key_made_with_a_key_is_good_from_there_and_as_often(work: UnitOfWork, organization: Organization) -> None:
    key, _ = make_api_key(work, organization, INSIDE)
    assert (key.ip_allow_list, key.rate_limit_per_minute) == (["10.1.0.0/16", "2001:db8::/32"], 30)
    narrow, _ = make_api_key(work, organization, INSIDE, ip_allow_list=["10.1.2.3"], rate_limit_per_minute=29)
    assert (narrow.ip_allow_list, narrow.rate_limit_per_minute) == (["10.1.2.3"], 29)
    for values in (
        {"ip_allow_list": ["10.0.0.0/8"]},
        {"ip_allow_list": ["10.1.2.3", "192.0.2.7"]},
        {"ip_allow_list": ["::/0"]},
        {"rate_limit_per_minute": 31},
    ):
        with pytest.raises(Denied, match="The key you use"):
            make_api_key(work, organization, INSIDE, **values)
    assert len(list_api_keys(work, organization.id, "live")) == 2


@pytest.mark.spec("K-09", "K-11", "K-15")
@pytest.mark.parametrize(
    "changes",
    [
        {"ip_allow_list": []},
        {"ip_allow_list": ["10.1.0.0/16", "192.0.2.7"]},
        {"rate_limit_per_minute": None},
        {"rate_limit_per_minute": 31},
    ],
)
def test_key_does_not_take_its_own_limits_off(
    work: UnitOfWork, organization: Organization, changes: dict[str, Any]
) -> None:
    key, _ = make_api_key(work, organization, INSIDE)
    with pytest.raises(Denied, match="The key you use"):
        update_api_key(work, key, INSIDE, **{"name": "Wider", **changes})
    assert (key.name, key.ip_allow_list, key.rate_limit_per_minute) == ("Sample", list(INSIDE.ip_allow_list), 30)
    assert audited(work, AuditEvent.API_KEY_UPDATED) == []
    update_api_key(work, key, INSIDE, name="Narrower", ip_allow_list=["10.1.0.0/24"], rate_limit_per_minute=1)
    assert (key.ip_allow_list, key.rate_limit_per_minute) == (["10.1.0.0/24"], 1)


@pytest.mark.spec("K-09", "K-11", "K-15")
@pytest.mark.parametrize("limits", [{"rate_limit_per_minute": 30}, {"ip_allow_list": ["10.1.0.0/16"]}])
def test_key_neither_changes_nor_follows_one_that_is_less_bound(
    work: UnitOfWork, organization: Organization, limits: dict[str, Any]
) -> None:
    key, _ = make_api_key(work, organization, **limits)
    with pytest.raises(Denied, match="The key you use"):
        rotate_api_key(work, key, 0, INSIDE)
    with pytest.raises(Denied, match="The key you use"):
        update_api_key(work, key, INSIDE, name="Mine")
    assert (key.name, key.replaced_by_id, audited(work, AuditEvent.API_KEY_ROTATED)) == ("Sample", None, [])
    own, _ = make_api_key(work, organization, INSIDE)
    successor, _ = rotate_api_key(work, own, 0, INSIDE)
    assert (successor.ip_allow_list, successor.rate_limit_per_minute) == (own.ip_allow_list, 30)


@pytest.mark.spec("K-11")
def test_key_that_has_more_is_neither_changed_nor_rotated(work: UnitOfWork, organization: Organization) -> None:
    key, _ = make_api_key(work, organization, permissions=["users:write"], ip_allow_list=["192.0.2.7"])
    maker = maker_of(work, organization, make_member(work, organization, "developer"))
    with pytest.raises(Denied):
        update_api_key(work, key, maker, ip_allow_list=[])
    with pytest.raises(Denied):
        rotate_api_key(work, key, 0, maker)
    assert key.ip_allow_list == ["192.0.2.7"]
    assert key.replaced_by_id is None


# Changes -------------------------------------------------------------------------------------------------------------


def test_what_is_given_is_changed_and_the_rest_stays(work: UnitOfWork, organization: Organization) -> None:
    key, _ = make_api_key(work, organization, rate_limit_per_minute=5, description="why")
    update_api_key(work, key, OPERATOR_MAKER, name=" Renamed ")
    assert (key.name, key.description, key.rate_limit_per_minute) == ("Renamed", "why", 5)
    update_api_key(
        work, key, OPERATOR_MAKER, rate_limit_per_minute=None, description="", ip_allow_list=["2001:db8::/32"]
    )
    assert (key.name, key.description, key.rate_limit_per_minute) == ("Renamed", "", None)
    assert key.ip_allow_list == ["2001:db8::/32"]
    rows = audited(work, AuditEvent.API_KEY_UPDATED)
    assert [row.details["changed"] for row in rows] == [
        ["name"],
        ["description", "ip_allow_list", "rate_limit_per_minute"],
    ]


def test_change_of_nothing_is_not_told_of(work: UnitOfWork, organization: Organization) -> None:
    key, _ = make_api_key(work, organization)
    update_api_key(work, key, OPERATOR_MAKER, name=key.name)
    assert audited(work, AuditEvent.API_KEY_UPDATED) == []


@pytest.mark.parametrize("changes", [{"name": ""}, {"ip_allow_list": ["x"]}, {"rate_limit_per_minute": -1}])
def test_nothing_is_changed_when_something_does_not_fit(
    work: UnitOfWork, organization: Organization, changes: dict[str, Any]
) -> None:
    key, _ = make_api_key(work, organization)
    with pytest.raises(Invalid):
        update_api_key(work, key, OPERATOR_MAKER, **{"description": "new", **changes})
    assert key.description == ""


def test_key_that_has_ended_is_not_changed(work: UnitOfWork, organization: Organization) -> None:
    key, _ = make_api_key(work, organization)
    revoke_api_key(work, key, "lost")
    with pytest.raises(Conflict):
        update_api_key(work, key, OPERATOR_MAKER, name="New")


# Rotation (K-06) -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("K-06")
@pytest.mark.parametrize("overlap", [0, 1, 3600, 86400, 7 * 86400, 30 * 86400, 12345])
@pytest.mark.spec("INV-33")
def test_old_key_works_to_the_second_of_the_overlap(
    work: UnitOfWork, organization: Organization, clock: FrozenClock, overlap: int
) -> None:
    old, old_text = make_api_key(work, organization)
    new, new_text = rotate_api_key(work, old, overlap, OPERATOR_MAKER)
    assert (old.replaced_by_id, works(work, new_text)) == (new.id, True)
    if overlap:
        clock.advance(overlap - 0.001)
        assert works(work, old_text)
        clock.advance(0.001)
    assert not works(work, old_text)
    assert works(work, new_text)
    row = last_audited(work, AuditEvent.API_KEY_ROTATED)
    assert (row.details["key_id"], row.details["successor_id"]) == (old.id, new.id)
    assert row.details["overlap_seconds"] == overlap


@pytest.mark.spec("K-06")
def test_new_key_is_as_the_old_one_was_made(work: UnitOfWork, organization: Organization, clock: FrozenClock) -> None:
    values = {
        "name": "CI",
        "description": "builds",
        "environment": "test",
        "kind": "restricted",
        "ip_allow_list": ["192.0.2.0/24"],
        "rate_limit_per_minute": 7,
        "expires_at": work.now + 10 * DAY,
    }
    old, old_text = make_api_key(work, organization, **values)
    clock.advance(9 * 86400)
    new, new_text = rotate_api_key(work, old, 0, OPERATOR_MAKER)
    assert new_text[:30] != old_text[:30]
    assert new.expires_at == work.now + 10 * DAY
    same = (*values, "permissions", "prefix", "owner_id", "organization_id")
    assert {name: getattr(new, name) for name in same if name != "expires_at"} == {
        name: getattr(old, name) for name in same if name != "expires_at"
    }


def test_new_key_is_bound_by_whoever_rotates_it(work: UnitOfWork, organization: Organization) -> None:
    admin = maker_of(work, organization, make_member(work, organization))
    key, _ = make_api_key(work, organization, admin)
    by_operator, _ = rotate_api_key(work, key, 0, OPERATOR_MAKER)
    assert by_operator.owner_id == key.owner_id
    other = maker_of(work, organization, make_member(work, organization, "owner", "owner@example.com"))
    by_owner, _ = rotate_api_key(work, by_operator, 0, replace(other, expires_at=work.now + DAY))
    assert by_owner.owner_id == other.owner.id  # type: ignore[union-attr]
    assert by_owner.expires_at == work.now + DAY


@pytest.mark.spec("K-06")
def test_key_is_rotated_once_and_its_successor_again(work: UnitOfWork, organization: Organization) -> None:
    old, old_text = make_api_key(work, organization)
    new, new_text = rotate_api_key(work, old, 3600, OPERATOR_MAKER)
    with pytest.raises(Conflict):
        rotate_api_key(work, old, 3600, OPERATOR_MAKER)
    _, newest_text = rotate_api_key(work, new, 60, OPERATOR_MAKER)
    assert [works(work, text) for text in (old_text, new_text, newest_text)] == [True, True, True]
    assert len(list_api_keys(work, organization.id, "live")) == 3


@pytest.mark.spec("K-06")
def test_overlap_does_not_prolong_a_key_that_is_ending(work: UnitOfWork, organization: Organization) -> None:
    old, _ = make_api_key(work, organization, expires_at=work.now + timedelta(seconds=60))
    rotate_api_key(work, old, 3600, OPERATOR_MAKER)
    assert old.expires_at == work.now + timedelta(seconds=60)
    lasting, _ = make_api_key(work, organization, never_expires=True)
    successor, _ = rotate_api_key(work, lasting, 3600, OPERATOR_MAKER)
    assert (lasting.expires_at, successor.expires_at) == (work.now + timedelta(seconds=3600), None)


@pytest.mark.parametrize("overlap", [-1, MAXIMUM_OVERLAP + 1])
def test_key_is_not_rotated_when_the_overlap_is_none(
    work: UnitOfWork, organization: Organization, overlap: int
) -> None:
    with pytest.raises(Invalid) as caught:
        rotate_api_key(work, make_api_key(work, organization)[0], overlap, OPERATOR_MAKER)
    assert caught.value.field == "overlap"


def test_key_that_has_ended_is_not_rotated(work: UnitOfWork, organization: Organization, clock: FrozenClock) -> None:
    revoked, _ = make_api_key(work, organization)
    revoke_api_key(work, revoked, "lost")
    expired, _ = make_api_key(work, organization)
    clock.advance(90 * 86400)
    for key in (revoked, expired):
        with pytest.raises(Conflict):
            rotate_api_key(work, key, 0, OPERATOR_MAKER)


def test_key_goes_with_its_owner(work: UnitOfWork, organization: Organization) -> None:
    user = make_user(work)
    _, text = make_api_key(work, organization, Maker(None, user))
    work.db.delete(user)
    work.db.flush()
    assert list_api_keys(work, organization.id, "live") == []
    assert not works(work, text)
