"""Proving an API key: by one SELECT or none, and never with more than its owner has now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from server.config import ScopeSetting
from server.domain.api_key_issuing import OPERATOR_MAKER, rotate_api_key
from server.domain.api_key_verification import (
    KeyRefused,
    VerifiedApiKey,
    looks_like_api_key,
    verify_api_key,
    verify_api_key_by_id,
)
from server.domain.api_keys import ApiKey, revoke_api_key
from server.domain.audit_events import AuditEvent
from server.domain.memberships import (
    add_member,
    change_role,
    find_membership,
    remove_member,
    resume_membership,
    suspend_membership,
)
from server.domain.organizations import (
    Organization,
    create_organization,
    resume_organization,
    suspend_organization,
)
from server.domain.policy import api_key_format
from server.domain.roles import create_role, update_role
from server.domain.unit_of_work import UnitOfWork
from server.domain.usage_writing import flush_usage
from server.domain.users import User, disable_user, enable_user, get_user
from server.infra.keyring import Keyring
from tests.domain.api_key_factories import ADDRESS, any_gatepost, coming_from, make_api_key, make_member, maker_of
from tests.domain.factories import audited, last_audited, make_user
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock
from tests.support.statements import noted_statements

__all__ = ["any_gatepost"]


@pytest.fixture
def organization(work: UnitOfWork) -> Organization:
    # Somebody stays when the others go.
    return create_organization(work, "Acme", owner=make_user(work, "owner@example.com"))


def refusal(work: UnitOfWork, text: str, **options: bool) -> str | None:
    """Why the key is refused, or None when it is not."""
    try:
        verify_api_key(work, text, **options)
    except KeyRefused as refused:
        return refused.reason
    return None


# How a key is found --------------------------------------------------------------------------------------------------


def test_key_is_proven_with_all_that_it_depends_on(work: UnitOfWork, organization: Organization) -> None:
    user = make_member(work, organization)
    key, text = make_api_key(work, organization, maker_of(work, organization, user))
    found = verify_api_key(work, text)
    assert isinstance(found, VerifiedApiKey)
    assert (found.key.id, found.organization.id) == (key.id, organization.id)
    assert found.owner is not None
    assert found.membership is not None
    assert (found.owner.email, found.membership.role) == (user.email, "admin")
    assert found.rights.granted == {"users:read"}
    by_id = verify_api_key_by_id(work, key.id)
    assert (by_id.key.id, by_id.rights) == (key.id, found.rights)


def test_key_of_an_operator_has_no_owner(work: UnitOfWork, organization: Organization) -> None:
    _, text = make_api_key(work, organization, permissions=["*"])
    found = verify_api_key(work, text)
    assert (found.owner, found.membership) == (None, None)
    assert found.rights.allows("organizations:delete")


@pytest.mark.spec("K-02", "K-08")
@pytest.mark.spec("INV-34")
def test_key_costs_one_statement_and_none_when_its_checksum_is_wrong(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        organization = create_organization(work, "Acme")
        key, text = make_api_key(work, organization, maker_of(work, organization, make_member(work, organization)))
    with gatepost.work() as work:
        verify_api_key(work, text)
        with noted_statements(gatepost.engines) as seen:
            assert verify_api_key(work, text).key.id == key.id
        assert len(seen) == 1, seen
        assert not work.is_in_transaction
        for place in range(len(text)):
            spoilt = text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]
            with noted_statements(gatepost.engines) as seen:
                assert refusal(work, spoilt) == "malformed"
            assert seen == []
    with gatepost.work() as work:
        flush_usage(work)
        assert audited(work, AuditEvent.API_KEY_REFUSED) == []


@pytest.mark.spec("K-02")
@pytest.mark.parametrize(
    "spoil",
    [
        str.upper,
        str.lower,
        str.swapcase,
        lambda text: text[:-1],
        lambda text: text + "a",
        lambda text: f" {text}",
        lambda text: f"{text}\n",
        lambda text: f"Bearer {text}",
        lambda text: text.replace("_", "-"),
        lambda text: text.replace("e", "\u0435"),
        lambda text: text.replace("live", "test"),
        lambda text: "",
        lambda text: text * 1000,
        lambda text: "\ud800",
    ],
)
def test_key_is_refused_when_it_differs_at_all(
    work: UnitOfWork, organization: Organization, spoil: Callable[[str], str]
) -> None:
    _, text = make_api_key(work, organization)
    assert refusal(work, spoil(text)) == "malformed"


def test_text_is_ours_by_its_beginning(work: UnitOfWork) -> None:
    settings = work.settings
    assert all(looks_like_api_key(settings, prefix + "x") for prefix in settings.api_key_prefixes.values())
    assert not any(
        looks_like_api_key(settings, text) for text in ("", "rt_abc", "eyJhbGciOi", "GP_LIVE_x", " gp_live_x")
    )


@pytest.mark.spec("K-05")
def test_key_is_refused_alike_whether_unknown_wrong_revoked_or_expired(gatepost: Gatepost, clock: FrozenClock) -> None:
    with gatepost.work() as work:
        organization = create_organization(work, "Acme")
        _, good = make_api_key(work, organization)
        known, _ = make_api_key(work, organization)
        revoked, of_revoked = make_api_key(work, organization)
        revoke_api_key(work, revoked, "lost")
        expired, of_expired = make_api_key(work, organization)
        expired.expires_at = work.now
    texts = {
        "unknown": api_key_format.make("gp_live_", "a" * 32),
        "wrong": api_key_format.make("gp_live_", known.public_id + "a" * 22),
        "other prefix": api_key_format.make("gp_test_", good[8:40]),
        "revoked": of_revoked,
        "expired": of_expired,
    }
    with gatepost.work() as work:
        there = coming_from(work, ADDRESS)
        refusal(there, texts["unknown"])
        for text in texts.values():
            with noted_statements(gatepost.engines) as seen:
                assert refusal(there, text) == "unknown"
            # The same work: one SELECT that finds nothing.
            assert len(seen) == 1
    with gatepost.work() as work:
        flush_usage(work)
        rows = {row.details["key_id"]: row for row in audited(work, AuditEvent.API_KEY_REFUSED)}
    reasons = {key_id: row.details["reason"] for key_id, row in rows.items()}
    assert reasons.pop(revoked.id) == "key_revoked"
    assert reasons.pop(expired.id) == "key_expired"
    assert reasons.pop(known.id) == "wrong_secret"
    assert list(reasons.values()) == ["wrong_secret"]
    row = rows[revoked.id]
    assert (row.ip, row.user_agent, row.request_id, row.actor_kind) == (ADDRESS, "curl/8", "req_sample", "anonymous")
    assert (row.organization_id, row.environment, row.details["count"]) == (organization.id, "live", 1)


def test_key_is_proven_after_the_keyring_has_a_new_key(work: UnitOfWork, organization: Organization) -> None:
    _, text = make_api_key(work, organization)
    old = work.runtime.keyring
    both = Keyring({**old._keys, "newer": bytes(32)}, "newer")
    later = replace(work, runtime=replace(work.runtime, keyring=both))
    assert refusal(later, text) is None
    newer, newer_text = make_api_key(later, organization)
    assert newer.pepper == "newer"
    assert refusal(later, newer_text) is None
    assert refusal(work, newer_text) == "unknown"


def test_key_is_proven_on_both_databases(any_gatepost: Gatepost) -> None:
    with any_gatepost.work() as work:
        organization = create_organization(work, "Acme")
        user = make_member(work, organization)
        key, text = make_api_key(work, organization, maker_of(work, organization, user), ip_allow_list=[ADDRESS])
        assert refusal(coming_from(work, ADDRESS), text) is None
    with any_gatepost.work() as work:
        found = verify_api_key(coming_from(work, ADDRESS), text)
        assert (found.key.permissions, found.key.created_at, found.key.expires_at) == (
            ["users:read"],
            key.created_at,
            key.expires_at,
        )
        assert found.owner is not None
        assert found.owner.id == user.id
        assert not work.is_in_transaction
        revoke_api_key(work, work.db.get_one(ApiKey, key.id), "lost")
    with any_gatepost.work() as work:
        assert refusal(coming_from(work, ADDRESS), text) == "unknown"


# From where ----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("K-09")
@pytest.mark.parametrize(
    ("ip", "reason"),
    [
        (ADDRESS, None),
        (f"::ffff:{ADDRESS}", None),
        ("203.0.113.8", "address_not_allowed"),
        (None, "address_not_allowed"),
        ("unix:", "address_not_allowed"),
    ],
)
def test_key_works_from_its_networks_alone(
    work: UnitOfWork, organization: Organization, ip: str | None, reason: str | None
) -> None:
    key, text = make_api_key(work, organization, ip_allow_list=[ADDRESS])
    there = coming_from(work, ip)
    assert refusal(there, text) == reason
    if reason is not None:
        with pytest.raises(KeyRefused, match=reason):
            verify_api_key_by_id(there, key.id)
        flush_usage(work)
        row = last_audited(work, AuditEvent.API_KEY_REFUSED)
        assert (row.details["key_id"], row.details["reason"], row.details["count"]) == (key.id, reason, 2)
        assert row.ip == ip


@pytest.mark.parametrize("kind", ["standard", "restricted", "scim"])
def test_key_for_scim_works_there_and_no_other_does(work: UnitOfWork, organization: Organization, kind: str) -> None:
    _, text = make_api_key(work, organization, kind=kind, permissions=["scim" if kind == "scim" else "users:read"])
    assert refusal(work, text) == ("scim_only" if kind == "scim" else None)
    assert refusal(work, text, for_scim=True) == (None if kind == "scim" else "not_for_scim")


# What it depends on (K-12) -------------------------------------------------------------------------------------------


@pytest.fixture
def owned(work: UnitOfWork, organization: Organization) -> tuple[User, ApiKey, str]:
    user = make_member(work, organization)
    permissions = ["users:read", "users:write", "audit:read"]
    return user, *make_api_key(work, organization, maker_of(work, organization, user), permissions=permissions)


@pytest.mark.spec("K-12")
def test_key_is_refused_while_its_organization_is_suspended(
    work: UnitOfWork, organization: Organization, owned: tuple[User, ApiKey, str]
) -> None:
    suspend_organization(work, organization)
    assert refusal(work, owned[2]) == "organization_suspended"
    resume_organization(work, organization)
    assert refusal(work, owned[2]) is None


@pytest.mark.spec("K-12")
def test_key_is_refused_while_its_owner_is_disabled(work: UnitOfWork, owned: tuple[User, ApiKey, str]) -> None:
    user = get_user(work, owned[0].id)
    disable_user(work, user)
    assert refusal(work, owned[2]) == "user_disabled"
    enable_user(work, user)
    assert refusal(work, owned[2]) is None


@pytest.mark.spec("K-12")
def test_key_is_refused_while_its_owner_is_no_member(
    work: UnitOfWork, organization: Organization, owned: tuple[User, ApiKey, str]
) -> None:
    membership = find_membership(work, organization.id, owned[0].id)
    assert membership is not None
    suspend_membership(work, membership)
    assert refusal(work, owned[2]) == "membership_suspended"
    resume_membership(work, membership)
    assert refusal(work, owned[2]) is None
    remove_member(work, membership)
    assert refusal(work, owned[2]) in {"deleted", "unknown"}


@pytest.mark.spec("K-12")
def test_key_is_refused_when_its_owner_is_a_member_elsewhere_only(
    work: UnitOfWork, organization: Organization, owned: tuple[User, ApiKey, str]
) -> None:
    user, _, text = owned
    add_member(work, create_organization(work, "Other"), user, "owner")
    membership = find_membership(work, organization.id, user.id)
    assert membership is not None
    remove_member(work, membership)
    assert refusal(work, text) in {"deleted", "unknown"}


@pytest.mark.spec("K-12")
def test_rights_shrink_and_grow_with_the_role_of_the_owner(
    work: UnitOfWork, organization: Organization, owned: tuple[User, ApiKey, str]
) -> None:
    user, _, text = owned
    membership = find_membership(work, organization.id, user.id)
    assert membership is not None
    assert verify_api_key(work, text).rights.granted == {"users:read", "users:write", "audit:read"}
    change_role(work, membership, "member")
    assert verify_api_key(work, text).rights.granted == {"users:read"}
    create_role(work, organization, "auditor", ["audit:read"], maker_rights=None)
    change_role(work, membership, "auditor")
    assert verify_api_key(work, text).rights.granted == {"audit:read"}


@pytest.mark.spec("K-12")
def test_wildcard_reaches_no_further_than_the_role(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(
        scopes={"notes:read": "Read", "notes:purge": ScopeSetting(sentence="Purge", sensitive=True)}
    )
    with gatepost.work() as work:
        organization = create_organization(work, "Acme", owner=make_user(work, "owner@example.com"))
        user = make_member(work, organization, "owner")
        _, text = make_api_key(work, organization, maker_of(work, organization, user), permissions=["*"])
        assert verify_api_key(work, text).rights.allows_all(["notes:purge", "organizations:delete"])
        membership = find_membership(work, organization.id, user.id)
        assert membership is not None
        change_role(work, membership, "member")
        shrunk = verify_api_key(work, text).rights
        assert shrunk.allows("notes:read")
        assert shrunk.excess(["notes:purge", "organizations:delete", "users:write", "*"]) == {
            "notes:purge",
            "organizations:delete",
            "users:write",
            "*",
        }


@pytest.mark.spec("K-12")
def test_key_for_scim_dies_when_its_owner_manages_nobody_any_more(work: UnitOfWork, organization: Organization) -> None:
    user = make_member(work, organization)
    maker = maker_of(work, organization, user)
    _, text = make_api_key(work, organization, maker, kind="scim", permissions=["scim"])
    assert verify_api_key(work, text, for_scim=True).rights.granted == {"scim"}
    membership = find_membership(work, organization.id, user.id)
    assert membership is not None
    change_role(work, membership, "developer")
    assert refusal(work, text, for_scim=True) == "owner_has_no_rights"


def test_change_of_a_role_is_seen_at_once(work: UnitOfWork, organization: Organization) -> None:
    role = create_role(work, organization, "auditor", ["audit:read", "users:read"], maker_rights=None)
    user = make_member(work, organization, "auditor")
    _, text = make_api_key(work, organization, maker_of(work, organization, user), permissions=["audit:read"])
    assert verify_api_key(work, text).rights.granted == {"audit:read"}
    update_role(work, role, permissions=["users:read"], maker_rights=None)
    assert verify_api_key(work, text).rights.granted == frozenset()


@pytest.mark.spec("K-06")
def test_rotated_key_goes_with_the_old_one(work: UnitOfWork, organization: Organization) -> None:
    key, text = make_api_key(work, organization)
    _, new = rotate_api_key(work, key, 0, OPERATOR_MAKER)
    assert [refusal(work, each) for each in (text, new)] == ["unknown", None]
