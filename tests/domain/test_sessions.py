"""Sessions: people signed in on browsers, until idle, until the end, or until they leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from server.domain.actor import Actor
from server.domain.audit_events import AuditEvent
from server.domain.browsers import Browser, create_browser, find_browser, find_superseded_browser
from server.domain.errors import Denied
from server.domain.sessions import (
    choose_session,
    end_session,
    find_session,
    forget_session,
    has_signed_in,
    is_live,
    list_sessions,
    lock_live_session,
    replace_secret,
    sign_out_everywhere,
    start_session,
    touch_session,
)
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import audited, find_grant, last_audited, make_client, make_grant, make_session, make_user
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

IDLE, ABSOLUTE = 600, 3600


@pytest.fixture
def gatepost(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    return make_gatepost(session_idle_lifetime=IDLE, session_lifetime=ABSOLUTE)


@pytest.fixture
def work(gatepost: Gatepost) -> Iterator[UnitOfWork]:
    with gatepost.work() as work:
        yield work


# ------------------------------------------------------------------------------------------------------------ browsers


def test_browser_is_found_by_its_secret_which_is_not_stored(work: UnitOfWork) -> None:
    browser, secret = create_browser(work)
    assert secret.startswith("bs_")
    assert find_browser(work, secret) is browser
    stored = [getattr(browser, column.name) for column in Browser.__table__.columns]
    assert secret not in map(str, stored)


@pytest.mark.parametrize("secret", ["", "bs_", "bs_unknown", "unknown", "\0", "bs_\0"])
def test_no_browser_is_found_when_the_secret_is_none_of_ours(work: UnitOfWork, secret: str) -> None:
    create_browser(work)
    assert find_browser(work, secret) is None


def test_digest_opens_nothing_when_it_is_presented_as_the_secret(work: UnitOfWork) -> None:
    browser, _ = create_browser(work)
    assert find_browser(work, browser.secret_digest) is None
    assert find_browser(work, "bs_" + browser.secret_digest) is None


def test_secret_of_the_cookie_is_replaced_at_every_sign_in(work: UnitOfWork) -> None:
    browser, before = create_browser(work)
    user = make_user(work)
    _, first = start_session(work, browser, user, amr=["pwd"], acr="1")
    _, second = start_session(work, browser, user, amr=["pwd"], acr="1")
    assert len({before, first, second}) == 3
    assert find_browser(work, before) is None
    assert find_browser(work, first) is None
    assert find_browser(work, second) is browser


def test_replaced_secret_is_recognised_for_ten_seconds_and_opens_nothing(work: UnitOfWork, clock: FrozenClock) -> None:
    browser, before = create_browser(work)
    after = replace_secret(work, browser)
    assert find_browser(work, before) is None
    assert find_superseded_browser(work, before) is browser
    assert find_superseded_browser(work, after) is None
    clock.advance(9.999)
    assert find_superseded_browser(work, before) is browser
    clock.advance(0.001)
    assert find_superseded_browser(work, before) is None


def test_secret_before_the_last_is_not_recognised(work: UnitOfWork) -> None:
    browser, oldest = create_browser(work)
    older = replace_secret(work, browser)
    replace_secret(work, browser)
    assert find_superseded_browser(work, oldest) is None
    assert find_superseded_browser(work, older) is browser


# ------------------------------------------------------------------------------------------------------------- sign-in


def test_session_tells_how_and_from_where_the_person_signed_in(work: UnitOfWork, clock: FrozenClock) -> None:
    clock.advance(0.75)
    browser, _ = create_browser(work)
    user = make_user(work)
    acting = replace(work, actor=Actor("anonymous", None, "192.0.2.7", "Browser/1.0", "req_1"))
    session, _ = start_session(acting, browser, user, amr=["pwd", "otp"], acr="2")
    assert (session.user_id, session.browser_id) == (user.id, browser.id)
    assert (session.amr, session.acr) == (["pwd", "otp"], "2")
    assert (session.ip, session.user_agent) == ("192.0.2.7", "Browser/1.0")
    # Whole seconds, as the ID token tells them.
    assert session.auth_time == work.now - timedelta(seconds=0.75)
    assert browser.current_session_id == session.id
    assert find_session(work, session.id) is session


def test_earlier_session_of_the_person_ends_when_they_sign_in_again(work: UnitOfWork, clock: FrozenClock) -> None:
    user, other = make_user(work), make_user(work, "alan@example.com")
    browser, first = make_session(work, user)
    make_session(work, other, browser)
    clock.advance(10)
    _, second = make_session(work, user, browser)
    assert first.ended_at == work.now
    assert {session.user_id for session in list_sessions(work, browser) if is_live(session, work.now)} == {
        user.id,
        other.id,
    }
    assert browser.current_session_id == second.id


def test_session_on_another_browser_stays_when_the_person_signs_in(work: UnitOfWork) -> None:
    user = make_user(work)
    _, at_home = make_session(work, user)
    make_session(work, user)
    assert is_live(at_home, work.now)


def test_each_person_has_one_line_newest_first_when_several_use_a_browser(work: UnitOfWork, clock: FrozenClock) -> None:
    ada, alan = make_user(work, "grace@example.com"), make_user(work, "alan@example.com")
    browser, _ = make_session(work, ada)
    clock.advance(1)
    _, of_alan = make_session(work, alan, browser)
    clock.advance(1)
    _, of_ada = make_session(work, ada, browser)
    make_session(work, ada)
    assert [session.id for session in list_sessions(work, browser)] == [of_ada.id, of_alan.id]
    end_session(work, browser, of_alan)
    assert [session.id for session in list_sessions(work, browser)] == [of_ada.id, of_alan.id]


# -------------------------------------------------------------------------------------------------------------- expiry


def test_session_ends_to_the_second_when_it_is_left_idle(work: UnitOfWork, clock: FrozenClock) -> None:
    _, session = make_session(work, make_user(work))
    clock.advance(IDLE - 0.001)
    assert is_live(session, work.now)
    clock.advance(0.001)
    assert not is_live(session, work.now)
    assert not lock_live_session(work, session)


def test_use_extends_the_idle_limit_and_never_the_end(work: UnitOfWork, clock: FrozenClock) -> None:
    _, session = make_session(work, make_user(work))
    started = work.now
    while work.now + timedelta(seconds=IDLE - 1) < started + timedelta(seconds=ABSOLUTE):
        clock.advance(IDLE - 1)
        assert is_live(session, work.now)
        touch_session(work, session)
    assert session.expires_at == session.ends_at == started + timedelta(seconds=ABSOLUTE)
    clock.advance((session.ends_at - work.now).total_seconds() - 0.001)
    assert is_live(session, work.now)
    clock.advance(0.001)
    assert not is_live(session, work.now)


@pytest.mark.parametrize(("seconds", "is_written"), [(0, False), (59, False), (59.999, False), (60, True), (300, True)])
def test_last_use_is_written_once_a_minute(
    work: UnitOfWork, clock: FrozenClock, seconds: float, is_written: bool
) -> None:
    _, session = make_session(work, make_user(work))
    before = session.last_seen_at
    clock.advance(seconds)
    touch_session(work, session)
    assert session.last_seen_at == (work.now if is_written else before)
    assert session.expires_at == session.last_seen_at + timedelta(seconds=IDLE)


def test_session_is_live_under_its_lock_when_it_was_not_ended(work: UnitOfWork) -> None:
    _, session = make_session(work, make_user(work))
    assert lock_live_session(work, session)


def test_lock_keeps_what_was_noted_before_it(work: UnitOfWork, clock: FrozenClock) -> None:
    _, session = make_session(work, make_user(work))
    clock.advance(100)
    touch_session(work, session)
    assert lock_live_session(work, session)
    assert session.last_seen_at == work.now


def test_lock_sees_the_end_that_another_request_wrote(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        browser, session = make_session(work, make_user(work))
    with gatepost.work() as other:
        known = find_session(other, session.id)
        browser_row = other.db.get_one(Browser, browser.id)
        assert known is not None
        end_session(other, browser_row, known)
    with gatepost.work() as work:
        stale = work.db.merge(session, load=False)
        assert stale.ended_at is None
        assert not lock_live_session(work, stale)


# ------------------------------------------------------------------------------------------------------------ sign-out


def test_chosen_session_answers_from_now_on_and_counts_as_used(work: UnitOfWork, clock: FrozenClock) -> None:
    user, other = make_user(work), make_user(work, "alan@example.com")
    browser, first = make_session(work, user)
    _, second = make_session(work, other, browser)
    clock.advance(100)
    assert browser.current_session_id == second.id
    choose_session(work, browser, first)
    assert browser.current_session_id == first.id
    assert first.last_seen_at == work.now


def test_session_is_over_and_audited_once_when_the_person_signs_out(work: UnitOfWork, clock: FrozenClock) -> None:
    user = make_user(work)
    browser, session = make_session(work, user)
    end_session(work, browser, session)
    ended_at = work.now
    clock.advance(5)
    end_session(work, browser, session)
    assert not is_live(session, work.now)
    assert session.ended_at == ended_at
    assert browser.current_session_id is None
    assert [row.user_id for row in audited(work, AuditEvent.SESSION_ENDED)] == [user.id]


def test_another_person_stays_current_when_somebody_signs_out(work: UnitOfWork) -> None:
    browser, first = make_session(work, make_user(work))
    _, second = make_session(work, make_user(work, "alan@example.com"), browser)
    end_session(work, browser, first)
    assert browser.current_session_id == second.id
    assert is_live(second, work.now)


def test_sign_out_ends_the_grants_of_the_session_but_not_offline_access(work: UnitOfWork) -> None:
    user, client = make_user(work), make_client(work)
    browser, session = make_session(work, user)
    online = make_grant(work, client, user, scope="openid email", session=session)
    offline = make_grant(work, client, user, scope="openid offline_access", session=session)
    _, at_home = make_session(work, user)
    elsewhere = make_grant(work, client, user, scope="openid", session=at_home)
    end_session(work, browser, session)
    assert (online.revoked_at, online.revocation_reason) == (work.now, "signed_out")
    assert offline.revoked_at is None
    assert elsewhere.revoked_at is None
    assert last_audited(work, AuditEvent.GRANT_REVOKED).details == {"reason": "signed_out"}


def test_sign_out_ends_grants_of_the_session_that_a_reauthentication_replaced(
    work: UnitOfWork, clock: FrozenClock
) -> None:
    user, client = make_user(work), make_client(work)
    browser, first = make_session(work, user)
    online = make_grant(work, client, user, scope="openid", session=first)
    clock.advance(60)
    _, second = make_session(work, user, browser)
    assert online.revoked_at is None
    end_session(work, browser, second)
    assert online.revoked_at == work.now


def test_person_leaves_the_chooser_when_they_are_forgotten(work: UnitOfWork, clock: FrozenClock) -> None:
    user, other = make_user(work), make_user(work, "alan@example.com")
    browser, first = make_session(work, user)
    clock.advance(1)
    _, again = make_session(work, user, browser)
    _, of_other = make_session(work, other, browser)
    grant = make_grant(work, make_client(work), user, scope="openid", session=again)
    forget_session(work, browser, again)
    work.db.flush()
    assert [session.id for session in list_sessions(work, browser)] == [of_other.id]
    assert find_session(work, first.id) is None
    assert find_session(work, again.id) is None
    assert [row.user_id for row in audited(work, AuditEvent.SESSION_ENDED)] == [user.id]
    found = find_grant(work, grant.id)
    assert found is not None
    assert found.revocation_reason == "signed_out"


def test_person_is_signed_out_everywhere_at_once(work: UnitOfWork, clock: FrozenClock) -> None:
    user, other, client = make_user(work), make_user(work, "alan@example.com"), make_client(work)
    browser, at_work = make_session(work, user)
    _, at_home = make_session(work, user)
    _, of_other = make_session(work, other, browser)
    offline = make_grant(work, client, user, session=at_home)
    untouched = make_grant(work, client, other, session=of_other)
    clock.advance(10)
    sign_out_everywhere(work, user, "password_changed")
    sign_out_everywhere(work, user, "password_changed")
    assert at_work.ended_at == at_home.ended_at == work.now
    assert (offline.revoked_at, offline.revocation_reason) == (work.now, "password_changed")
    assert (of_other.ended_at, untouched.revoked_at) == (None, None)
    rows = audited(work, AuditEvent.SESSION_ENDED)
    assert [(row.user_id, row.details["reason"]) for row in rows] == [(user.id, "password_changed")] * 2
    assert len({row.details["session_id"] for row in rows}) == 2


def test_live_session_comes_before_an_ended_one_whatever_the_clocks_said(work: UnitOfWork, clock: FrozenClock) -> None:
    user = make_user(work)
    browser, first = make_session(work, user)
    clock.advance(-30)
    _, second = make_session(work, user, browser)
    assert first.ended_at is not None
    assert [session.id for session in list_sessions(work, browser)] == [second.id]


def test_lock_says_no_when_the_session_is_gone(work: UnitOfWork) -> None:
    _, session = make_session(work, make_user(work))
    work.db.connection().exec_driver_sql("DELETE FROM sessions")
    assert not lock_live_session(work, session)


def test_nothing_is_changed_on_a_browser_that_housekeeping_has_just_removed(work: UnitOfWork) -> None:
    browser, _ = create_browser(work)
    work.db.connection().exec_driver_sql("DELETE FROM browsers")
    with pytest.raises(Denied, match="Your session has just ended"):
        replace_secret(work, browser)
    work.db.rollback()


def test_browser_remembers_who_has_signed_in_on_it(work: UnitOfWork) -> None:
    user, other = make_user(work), make_user(work, "alan@example.com")
    browser, session = make_session(work, user)
    elsewhere, _ = make_session(work, other)
    end_session(work, browser, session)
    assert [has_signed_in(work, browser, user), has_signed_in(work, browser, other)] == [True, False]
    assert [has_signed_in(work, elsewhere, user), has_signed_in(work, elsewhere, other)] == [False, True]
