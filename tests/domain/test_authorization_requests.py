"""Authorization requests: one browser, one answer, and only for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from server.domain.authorization_requests import (
    AuthorizationRequest,
    RequestState,
    finish_request,
    get_open_request,
    note_account_choice,
    note_consent,
    note_login,
    park_request,
)
from server.domain.browsers import create_browser
from server.domain.errors import Denied, Expired, NotFound
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import make_client, make_session, make_user
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

PARAMETERS = {"response_type": "code", "scope": "openid", "state": 'an "odd" ✓ state'}


@pytest.fixture
def gatepost(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    return make_gatepost(authorization_request_lifetime=300)


@pytest.fixture
def work(gatepost: Gatepost) -> Iterator[UnitOfWork]:
    with gatepost.work() as work:
        yield work


def park(work: UnitOfWork, browser: object = None) -> AuthorizationRequest:
    return park_request(work, make_client(work), PARAMETERS, browser)  # type: ignore[arg-type]


def test_request_waits_with_the_parameters_it_was_checked_with(work: UnitOfWork) -> None:
    request = park(work)
    assert request.parameters == PARAMETERS
    assert request.state == RequestState.PENDING
    assert (request.session_id, request.is_reauthenticated, request.is_account_chosen) == (None, False, False)
    assert request.expires_at == work.now + timedelta(seconds=300)
    assert request.finished_at is None


def test_request_is_bound_to_the_browser_that_brings_it_first(work: UnitOfWork) -> None:
    request = park(work)
    first, second = create_browser(work)[0], create_browser(work)[0]
    assert get_open_request(work, request.id, first) is request
    assert request.browser_id == first.id
    assert get_open_request(work, request.id, first) is request
    with pytest.raises(Denied, match="another browser"):
        get_open_request(work, request.id, second)
    with pytest.raises(Denied, match="another browser"):
        get_open_request(work, request.id, None)


def test_request_is_its_browsers_from_the_start_when_the_browser_was_known(work: UnitOfWork) -> None:
    browser, stranger = create_browser(work)[0], create_browser(work)[0]
    request = park(work, browser)
    with pytest.raises(Denied):
        get_open_request(work, request.id, stranger)
    assert get_open_request(work, request.id, browser) is request


def test_request_is_denied_when_there_is_no_browser_to_bind_it_to(work: UnitOfWork) -> None:
    request = park(work)
    with pytest.raises(Denied):
        get_open_request(work, request.id, None)
    assert request.browser_id is None


@pytest.mark.parametrize("request_id", ["", "x", "a" * 22, "a" * 23, "' OR 1=1", "a" * 21 + "\0", "é" * 22, "../../x"])
def test_request_is_not_found_when_there_is_none(work: UnitOfWork, request_id: str) -> None:
    park(work)
    with pytest.raises(NotFound, match="not known"):
        get_open_request(work, request_id, create_browser(work)[0])


def test_request_expires_to_the_second(work: UnitOfWork, clock: FrozenClock) -> None:
    browser = create_browser(work)[0]
    request = park(work, browser)
    clock.advance(299.999)
    assert get_open_request(work, request.id, browser) is request
    clock.advance(0.001)
    with pytest.raises(Expired, match="has expired") as caught:
        get_open_request(work, request.id, browser)
    # The client it was for, so that the page can lead back there.
    assert caught.value.client_id == request.client_id


@pytest.mark.parametrize("state", [RequestState.CODED, RequestState.REFUSED])
def test_request_is_answered_once(work: UnitOfWork, state: RequestState) -> None:
    browser = create_browser(work)[0]
    request = park(work, browser)
    finish_request(work, request, state)
    work.db.refresh(request)
    assert (request.state, request.finished_at) == (state, work.now)
    for again in (
        lambda: finish_request(work, request, RequestState.CODED),
        lambda: get_open_request(work, request.id, browser),
    ):
        with pytest.raises(Expired, match="answered already") as caught:
            again()
        assert caught.value.client_id == request.client_id


def test_request_is_answered_once_when_two_visits_read_it_before(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        request = park(work, create_browser(work)[0])
    with gatepost.work() as work:
        finish_request(work, work.db.get_one(AuthorizationRequest, request.id), RequestState.CODED)
    with gatepost.work() as work:
        stale = work.db.merge(request, load=False)
        assert stale.finished_at is None
        with pytest.raises(Expired):
            finish_request(work, stale, RequestState.REFUSED)
    with gatepost.work() as work:
        assert work.db.get_one(AuthorizationRequest, request.id).state == RequestState.CODED


def test_stranger_learns_nothing_about_an_answered_request(work: UnitOfWork) -> None:
    browser, stranger = create_browser(work)[0], create_browser(work)[0]
    request = park(work, browser)
    finish_request(work, request, RequestState.CODED)
    with pytest.raises(Denied):
        get_open_request(work, request.id, stranger)


def test_sign_in_and_consent_are_noted_on_the_way(work: UnitOfWork) -> None:
    browser, session = make_session(work, make_user(work))
    request = park(work, browser)
    note_login(request, session)
    assert request.state == RequestState.AUTHENTICATED
    assert (request.session_id, request.is_reauthenticated, request.is_account_chosen) == (session.id, True, True)
    note_consent(request, session)
    assert (request.state, request.session_id) == (RequestState.CONSENTED, session.id)


def test_what_one_person_proved_and_allowed_does_not_count_when_another_is_chosen(work: UnitOfWork) -> None:
    browser, session = make_session(work, make_user(work))
    _, other = make_session(work, make_user(work, "alan@example.com"), browser)
    request = park(work, browser)
    note_login(request, session)
    note_consent(request, session)
    note_account_choice(request, other)
    assert (request.session_id, request.is_account_chosen) == (other.id, True)
    assert not request.is_reauthenticated
    assert request.state == RequestState.PENDING


def test_nobody_is_chosen_when_the_person_wants_another_account(work: UnitOfWork) -> None:
    request = park(work)
    note_account_choice(request, None)
    assert (request.session_id, request.is_account_chosen) == (None, True)
