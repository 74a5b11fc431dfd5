"""A sign-in that arrives twice: a double click gets through, and whoever else knows the old cookie does not."""

from __future__ import annotations

import pytest

from server.domain.browsers import Browser, create_browser, find_browser, find_superseded_browser
from server.domain.errors import Denied
from server.domain.sessions import end_session, find_session, is_live, replace_secret, start_session
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User
from tests.domain.factories import make_user
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock


@pytest.fixture
def user(work: UnitOfWork) -> User:
    return make_user(work)


@pytest.fixture
def before(work: UnitOfWork, user: User) -> str:
    """The cookie secret that the first half of a double click carried and replaced."""
    browser, secret = create_browser(work)
    start_session(work, browser, user, amr=["pwd"], acr="1")
    return secret


def superseded(work: UnitOfWork, secret: str) -> Browser:
    assert find_browser(work, secret) is None
    browser = find_superseded_browser(work, secret)
    assert browser is not None
    return browser


def test_same_person_signs_in_again_when_the_click_was_a_double_one(
    work: UnitOfWork, user: User, before: str, clock: FrozenClock
) -> None:
    clock.advance(1)
    browser = superseded(work, before)
    session, after = start_session(work, browser, user, amr=["pwd"], acr="1")
    assert is_live(session, work.now)
    assert find_browser(work, after) is browser
    # A third click still carries the first cookie.
    assert superseded(work, before) is browser


def test_another_person_cannot_sign_in_with_a_cookie_that_was_replaced(work: UnitOfWork, before: str) -> None:
    other = make_user(work, "mallory@example.com")
    browser = superseded(work, before)
    with pytest.raises(Denied, match="changed in another tab"):
        start_session(work, browser, other, amr=["pwd"], acr="1")


def test_nobody_signs_in_with_a_replaced_cookie_when_the_person_has_left(
    work: UnitOfWork, user: User, before: str
) -> None:
    browser = superseded(work, before)
    current = work.db.get_one(Browser, browser.id).current_session_id
    assert current is not None
    session = find_session(work, current)
    assert session is not None
    end_session(work, browser, session)
    with pytest.raises(Denied):
        start_session(work, browser, user, amr=["pwd"], acr="1")


def test_sign_out_is_refused_when_the_cookie_was_replaced(work: UnitOfWork, before: str) -> None:
    browser = superseded(work, before)
    with pytest.raises(Denied):
        replace_secret(work, browser)


def test_cookie_that_another_request_replaced_meanwhile_is_noticed(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        browser, secret = create_browser(work)
    with gatepost.work() as work:
        known = find_browser(work, secret)
        assert known is not None
        replace_secret(work, known)
    with gatepost.work() as work:
        # As a request sees it that read the row before the other one wrote.
        stale = work.db.merge(browser, load=False)
        stale.presented_digest = stale.secret_digest
        with pytest.raises(Denied, match="changed in another tab"):
            replace_secret(work, stale)
