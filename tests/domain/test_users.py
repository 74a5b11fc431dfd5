"""Users: an id that is never given again, an address compared without case, and an end that is complete."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from server.domain import users
from server.domain.audit_events import AuditEvent
from server.domain.consents import find_consent, give_consent
from server.domain.errors import Conflict, Invalid, NotFound
from server.domain.sessions import Session
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from tests.domain.factories import audited, find_grant, last_audited, make_client, make_grant, make_session, make_user
from tests.support.clock import FrozenClock


def test_user_has_what_was_given_and_an_audit_row_when_created(work: UnitOfWork) -> None:
    user = users.create_user(
        work, "  Grace@Example.com ", name="Grace Hopper", claims={"locale": "en"}, email_verified=True
    )
    assert user.id.startswith("usr_")
    assert (user.email, user.email_key) == ("Grace@Example.com", "grace@example.com")
    assert (user.name, user.claims, user.email_verified) == ("Grace Hopper", {"locale": "en"}, True)
    assert user.password_hash is None
    assert user.created_at == user.updated_at == work.now
    row = last_audited(work, AuditEvent.USER_CREATED)
    assert (row.user_id, row.actor_kind, row.at) == (user.id, "operator", work.now)


def test_user_is_unverified_unnamed_and_no_demo_when_nothing_is_said(work: UnitOfWork) -> None:
    user = make_user(work)
    assert (user.email_verified, user.name, user.claims, user.is_demo) == (False, None, {}, False)
    assert user.display_name == "grace@example.com"
    user.name = "Grace"
    assert user.display_name == "Grace"


@pytest.mark.parametrize(
    "email",
    [
        "",
        "grace",
        "grace@",
        "@example.com",
        "gr ace@example.com",
        "grace@exam ple.com",
        "grace@@example.com",
        "a@b@example.com",
        "grace@example.com\nx",
        "grace\0@example.com",
        "grace\x7f@example.com",
        "x" * 65 + "@example.com",
        "grace@" + "x" * 190,
    ],
)
def test_user_is_refused_when_the_address_is_none(work: UnitOfWork, email: str) -> None:
    with pytest.raises(Invalid) as caught:
        users.create_user(work, email)
    assert caught.value.field == "email"


@pytest.mark.parametrize("name", ["", "two\nlines", "nul\0", "bell\a", "half \ud800", "line\u2028end", "x" * 201])
def test_user_is_refused_when_the_name_cannot_be_shown_on_a_line(work: UnitOfWork, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        make_user(work, name=name)
    assert caught.value.field == "name"
    assert users.find_user_by_email(work, "grace@example.com") is None


@pytest.mark.parametrize("name", ["G", "x" * 200, "Grace Hopper", "Ⅷ. Größe", "عبد الله", "🦊"])
def test_user_may_have_any_name_that_can_be_shown(work: UnitOfWork, name: str) -> None:
    assert make_user(work, name=name).display_name == name


@pytest.mark.parametrize("email", ["a\u00a8b@example.com", "a\uff20b@example.com", "ß" * 64 + "@example.com"])
def test_user_is_refused_when_the_address_cannot_be_compared(work: UnitOfWork, email: str) -> None:
    with pytest.raises(Invalid):
        users.create_user(work, email)


@pytest.mark.parametrize(
    "email", ["grace@example.com", "GRACE@EXAMPLE.COM", " grace@example.com\t", "ｇｒａｃｅ@example.com"]
)
def test_user_is_refused_when_somebody_has_the_address(work: UnitOfWork, email: str) -> None:
    make_user(work, "grace@example.com")
    with pytest.raises(Conflict, match="already"):
        users.create_user(work, email)


@pytest.mark.parametrize(
    ("left", "right"),
    [("Straße@example.com", "STRASSE@example.com"), ("Ada@Example.COM", "ada@example.com"), ("ﬁ@x.y", "fi@x.y")],
)
def test_addresses_are_compared_without_case_and_compatibility_forms(left: str, right: str) -> None:
    assert users.email_key(left) == users.email_key(right)


def test_user_is_found_by_id_and_by_address(work: UnitOfWork) -> None:
    user = make_user(work, "Grace@Example.com")
    assert users.find_user(work, user.id) is user
    assert users.find_user_by_email(work, "GRACE@example.com") is user
    assert users.get_user(work, user.id) is user
    assert users.get_user(work, "grace@example.com") is user


@pytest.mark.parametrize("wanted", ["usr_nobody", "nobody@example.com", "", "no address", "usr_@example.com"])
def test_nobody_is_found_when_there_is_no_such_user(work: UnitOfWork, wanted: str) -> None:
    assert users.find_user(work, wanted) is None
    assert users.find_user_by_email(work, wanted) is None
    with pytest.raises(NotFound, match="There is no user"):
        users.get_user(work, wanted)


def test_user_is_found_by_address_when_it_looks_like_an_id(work: UnitOfWork) -> None:
    user = make_user(work, "usr_x@example.com")
    assert users.get_user(work, "usr_x@example.com") is user


def test_users_are_listed_oldest_first(work: UnitOfWork, clock: FrozenClock) -> None:
    made = []
    for name in ("c", "a", "b"):
        clock.advance(1)
        made.append(make_user(work, f"{name}@example.com").id)
    assert [user.id for user in users.list_users(work)][1:] == made


def test_demo_user_is_noticed(work: UnitOfWork) -> None:
    make_user(work)
    assert not users.has_demo_user(work)
    make_user(work, "demo@example.com", is_demo=True)
    assert users.has_demo_user(work)


def test_user_is_disabled_and_enabled_once_however_often_it_is_asked(work: UnitOfWork, clock: FrozenClock) -> None:
    user = make_user(work)
    users.enable_user(work, user)
    assert audited(work, AuditEvent.USER_ENABLED) == []
    disabled_at = work.now
    users.disable_user(work, user)
    clock.advance(5)
    users.disable_user(work, user)
    assert user.disabled_at == user.updated_at == disabled_at
    assert [row.user_id for row in audited(work, AuditEvent.USER_DISABLED)] == [user.id]
    users.enable_user(work, user)
    assert user.disabled_at is None
    assert user.updated_at == disabled_at + timedelta(seconds=5)
    users.enable_user(work, user)
    assert [row.user_id for row in audited(work, AuditEvent.USER_ENABLED)] == [user.id]


@pytest.mark.spec("OpenID Connect Core §5.7")
@pytest.mark.spec("INV-13")
def test_deleted_user_takes_everything_along_and_the_id_is_never_given_again(work: UnitOfWork) -> None:
    user, client = make_user(work), make_client(work)
    user_id, client_id = user.id, client.id
    _, session = make_session(work, user)
    grant_id = make_grant(work, client, user, session=session).id
    give_consent(work, user_id, client_id, frozenset({"openid"}))
    users.delete_user(work, user)
    work.db.expunge_all()
    assert users.find_user(work, user_id) is None
    assert work.db.scalars(select(Session.id).where(Session.user_id == user_id)).all() == []
    assert find_consent(work, user_id, client_id) is None
    assert find_grant(work, grant_id) is None
    assert last_audited(work, AuditEvent.USER_DELETED).user_id == user_id
    assert make_user(work).id != user_id


def test_same_address_cannot_be_stored_twice_by_the_database_itself(work: UnitOfWork) -> None:
    first = make_user(work)
    keys = {column.name for column in User.__table__.columns if column.unique}
    assert keys == {"email_key"}
    assert first.email_key == "grace@example.com"
