"""Whom a sign-out concerns: the clients of the session, of those it replaced, and of no other."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from server.domain import logout, sessions
from server.domain.browsers import Browser
from server.domain.clients import Client, disable_client
from server.domain.grants import revoke_grant
from server.domain.outbox import OutboxMessage
from server.domain.sessions import Session
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User, delete_user, disable_user
from tests.domain.factories import make_client, make_grant, make_session, make_user
from tests.support.clock import FrozenClock

URI = "https://app.example.com/backchannel"


def make_app(work: UnitOfWork, client_id: str, uri: str | None = URI, **values: Any) -> Client:
    client = make_client(work, client_id=client_id)
    for name, value in {"backchannel_logout_uri": uri, **values}.items():
        setattr(client, name, value)
    return client


def told(work: UnitOfWork) -> list[tuple[str, str, str]]:
    """Client, sub and sid of each queued message."""
    rows = work.db.scalars(select(OutboxMessage).order_by(OutboxMessage.id)).all()
    assert {row.topic for row in rows} <= {logout.BACKCHANNEL}
    return [(row.client_id, row.payload["sub"], row.payload["sid"]) for row in rows]


def heard(client_id: str, user: User, session: Session) -> tuple[str, str, str]:
    """What a client is to be told."""
    return client_id, user.id, logout.sid_of(session.id, client_id)


def sign_in(
    work: UnitOfWork, clock: FrozenClock, user: User, browser: Browser | None = None
) -> tuple[Browser, Session]:
    clock.advance(1)
    return make_session(work, user, browser)


@pytest.mark.spec("Back-Channel Logout 1.0 §2.3")
def test_each_client_of_the_session_is_told_once_when_it_ends(work: UnitOfWork, clock: FrozenClock) -> None:
    ada = make_user(work)
    browser, session = sign_in(work, clock, ada)
    for client in (make_app(work, "one"), make_app(work, "two"), make_app(work, "deaf", None)):
        make_grant(work, client, ada, session=session)
        make_grant(work, client, ada, session=session)
    make_app(work, "stranger")
    clock.advance(1)
    assert sessions.end_session(work, browser, session) == [session.id]
    assert told(work) == [heard("one", ada, session), heard("two", ada, session)]
    assert sessions.end_session(work, browser, session) == []
    assert len(told(work)) == 2


@pytest.mark.spec("OIDC Core §8.1")
def test_session_has_another_name_for_each_client_and_none_is_its_id(work: UnitOfWork, clock: FrozenClock) -> None:
    _, session = sign_in(work, clock, make_user(work))
    names = [logout.sid_of(session.id, client_id) for client_id in ("one", "two", "one")]
    assert names[0] == names[2] != names[1]
    assert session.id not in names
    assert all(len(name) == 22 for name in names)


def test_message_says_for_the_audit_log_which_session_it_is_of(work: UnitOfWork, clock: FrozenClock) -> None:
    ada, app = make_user(work), make_app(work, "app")
    browser, session = sign_in(work, clock, ada)
    make_grant(work, app, ada, session=session)
    sessions.end_session(work, browser, session)
    assert [row.payload["session_id"] for row in work.db.scalars(select(OutboxMessage))] == [session.id]


def test_messages_have_ids_of_their_own(work: UnitOfWork, clock: FrozenClock) -> None:
    ada = make_user(work)
    browser, session = sign_in(work, clock, ada)
    for name in ("one", "two"):
        make_grant(work, make_app(work, name), ada, session=session)
    sessions.end_session(work, browser, session)
    assert len({row.payload["jti"] for row in work.db.scalars(select(OutboxMessage))}) == 2


def test_clients_of_replaced_sessions_are_told_with_the_sid_they_know(work: UnitOfWork, clock: FrozenClock) -> None:
    ada, app, other = make_user(work), make_app(work, "app"), make_app(work, "other")
    browser, first = sign_in(work, clock, ada)
    make_grant(work, app, ada, session=first)
    _, second = sign_in(work, clock, ada, browser)
    make_grant(work, other, ada, session=second)
    _, third = sign_in(work, clock, ada, browser)
    assert told(work) == []
    clock.advance(1)
    assert sessions.end_session(work, browser, third) == [third.id, second.id, first.id]
    assert sorted(told(work)) == [heard("app", ada, first), heard("other", ada, second)]


def test_earlier_sign_outs_are_not_told_again(work: UnitOfWork, clock: FrozenClock) -> None:
    ada, app = make_user(work), make_app(work, "app")
    browser, first = sign_in(work, clock, ada)
    make_grant(work, app, ada, session=first)
    clock.advance(1)
    sessions.end_session(work, browser, first)
    _, second = sign_in(work, clock, ada, browser)
    make_grant(work, app, ada, session=second)
    clock.advance(1)
    sessions.end_session(work, browser, second)
    assert told(work) == [heard("app", ada, first), heard("app", ada, second)]


def test_nobody_else_is_signed_out_when_one_of_several_people_leaves(work: UnitOfWork, clock: FrozenClock) -> None:
    ada, bob, app = make_user(work), make_user(work, "bob@example.com"), make_app(work, "app")
    browser, hers = sign_in(work, clock, ada)
    _, his = sign_in(work, clock, bob, browser)
    for user, session in ((ada, hers), (bob, his)):
        make_grant(work, app, user, session=session)
    clock.advance(1)
    sessions.end_session(work, browser, hers)
    assert told(work) == [heard("app", ada, hers)]


def test_client_is_told_though_its_access_was_revoked_and_not_when_it_is_disabled(
    work: UnitOfWork, clock: FrozenClock
) -> None:
    ada, revoked, disabled = make_user(work), make_app(work, "revoked"), make_app(work, "disabled")
    browser, session = sign_in(work, clock, ada)
    revoke_grant(work, make_grant(work, revoked, ada, session=session), "by the person")
    make_grant(work, disabled, ada, session=session)
    disable_client(work, disabled)
    sessions.end_session(work, browser, session)
    assert told(work) == [heard("revoked", ada, session)]


@pytest.mark.spec("OIDC Core §8.1")
def test_client_is_told_the_subject_it_knows_when_subjects_are_pairwise(work: UnitOfWork, clock: FrozenClock) -> None:
    ada, app = make_user(work), make_app(work, "app", subject_type="pairwise")
    browser, session = sign_in(work, clock, ada)
    make_grant(work, app, ada, session=session)
    sessions.end_session(work, browser, session)
    assert told(work)[0][1] != ada.id


@pytest.mark.parametrize("end", ["everywhere", "disabled", "deleted"])
def test_clients_of_all_sessions_are_told_when_all_of_them_end(work: UnitOfWork, clock: FrozenClock, end: str) -> None:
    ada, app = make_user(work), make_app(work, "app")
    ids = []
    for _ in range(2):
        _, session = sign_in(work, clock, ada)
        make_grant(work, app, ada, session=session)
        ids.append(session.id)
    clock.advance(1)
    user_id = ada.id
    if end == "everywhere":
        sessions.sign_out_everywhere(work, ada, "password_changed")
    else:
        sessions.tell_clients_of(work, ada)
        (disable_user if end == "disabled" else delete_user)(work, ada)
    assert sorted(told(work)) == sorted(("app", user_id, logout.sid_of(session_id, "app")) for session_id in ids)


def test_clients_are_told_when_the_person_is_removed_from_the_browser(work: UnitOfWork, clock: FrozenClock) -> None:
    ada, app = make_user(work), make_app(work, "app")
    browser, session = sign_in(work, clock, ada)
    make_grant(work, app, ada, session=session)
    expected = heard("app", ada, session)
    sessions.forget_session(work, browser, session)
    assert told(work) == [expected]


def test_what_ended_a_moment_ago_is_known_for_a_moment(work: UnitOfWork, clock: FrozenClock) -> None:
    ada = make_user(work)
    browser, first = sign_in(work, clock, ada)
    _, second = sign_in(work, clock, ada, browser)
    assert sessions.list_just_ended(work, browser) == [], "replaced, not ended"
    clock.advance(60)
    sessions.end_session(work, browser, second)
    assert sessions.list_just_ended(work, browser) == [second.id, first.id]
    clock.advance(9)
    assert sessions.list_just_ended(work, browser) == [second.id, first.id]
    clock.advance(1)
    assert sessions.list_just_ended(work, browser) == []
