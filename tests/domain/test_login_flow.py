"""The login flow: one sentence for every failure, an audit row for every attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from server.domain import login_flow
from server.domain.actor import Actor
from server.domain.audit_events import AuditEvent
from server.domain.browsers import create_browser, find_browser
from server.domain.errors import Denied, TooMany
from server.domain.login_flow import log_in_with_password
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User, disable_user
from server.infra.password_hasher import PasswordHasher
from tests.domain.factories import audited, last_audited, make_user
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

GOOD = "correct horse battery staple"


@pytest.fixture
def user(work: UnitOfWork) -> User:
    return make_user(work, "grace@example.com", GOOD)


def test_person_is_signed_in_and_the_act_is_theirs_when_the_password_is_right(work: UnitOfWork, user: User) -> None:
    visiting = replace(work, actor=Actor("anonymous", None, "192.0.2.7", "Browser/1.0", "req_1"))
    browser, before = create_browser(visiting)
    session, secret = log_in_with_password(visiting, browser, " GRACE@example.com", GOOD)
    assert (session.user_id, session.amr, session.acr) == (user.id, ["pwd"], "1")
    assert browser.current_session_id == session.id
    assert find_browser(work, secret) is browser
    assert find_browser(work, before) is None
    row = last_audited(work, AuditEvent.LOGIN_SUCCEEDED)
    assert (row.user_id, row.actor_kind, row.actor_id) == (user.id, "user", user.id)
    assert (row.ip, row.user_agent, row.request_id) == ("192.0.2.7", "Browser/1.0", "req_1")


FAILURES: dict[str, Callable[[UnitOfWork, User], tuple[str, str]]] = {
    "wrong password": lambda work, user: (user.email, "a wrong password"),
    "empty password": lambda work, user: (user.email, ""),
    "overlong password": lambda work, user: (user.email, "x" * 5000),
    "no such person": lambda work, user: ("nobody@example.com", GOOD),
    "no address": lambda work, user: ("", GOOD),
    "nonsense for an address": lambda work, user: ("' OR 1=1 --", GOOD),
    "id instead of the address": lambda work, user: (user.id, GOOD),
    "disabled person": lambda work, user: (disable_user(work, user) or user.email, GOOD),
    "person without a password": lambda work, user: (make_user(work, "new@example.com").email, GOOD),
}


@pytest.mark.spec("E-01")
@pytest.mark.parametrize("failure", FAILURES)
def test_refusal_is_the_same_sentence_and_audited_for_every_reason(work: UnitOfWork, user: User, failure: str) -> None:
    email, password = FAILURES[failure](work, user)
    browser, secret = create_browser(work)
    with pytest.raises(Denied) as caught:
        log_in_with_password(work, browser, email, password)
    assert str(caught.value) == "Email or password is incorrect."
    assert browser.current_session_id is None
    assert find_browser(work, secret) is browser
    assert len(audited(work, AuditEvent.LOGIN_FAILED)) == 1
    assert audited(work, AuditEvent.LOGIN_SUCCEEDED) == []


@pytest.mark.parametrize(("email", "is_known"), [("grace@example.com", True), ("nobody@example.com", False)])
def test_failed_attempt_names_the_person_in_the_audit_log_when_there_is_one(
    work: UnitOfWork, user: User, email: str, is_known: bool
) -> None:
    browser, _ = create_browser(work)
    with pytest.raises(Denied):
        log_in_with_password(work, browser, email, "a wrong password")
    row = last_audited(work, AuditEvent.LOGIN_FAILED)
    assert row.user_id == (user.id if is_known else None)
    assert "wrong password" not in str(row.details)


class CountingHasher(PasswordHasher):
    """Counts the passwords it looks at."""

    def __init__(self, work: UnitOfWork) -> None:
        super().__init__(work.settings)
        self.work, self.looks, self.was_in_transaction = work, 0, True

    def verify(self, password_hash: str | None, password: str) -> bool:
        self.looks += 1
        self.was_in_transaction = self.work.is_in_transaction
        return super().verify(password_hash, password)


@pytest.mark.spec("E-01")
@pytest.mark.parametrize("reason", [reason for reason in FAILURES if not reason.startswith("overlong")])
def test_one_hash_is_computed_whatever_the_reason(work: UnitOfWork, user: User, reason: str) -> None:
    email, password = FAILURES[reason](work, user)
    browser, _ = create_browser(work)
    hasher = CountingHasher(work)
    counting = replace(work, runtime=replace(work.runtime, password_hasher=hasher))
    with pytest.raises(Denied):
        log_in_with_password(counting, browser, email, password)
    assert hasher.looks == 1
    # Others pass meanwhile, and would wait for its locks.
    assert not hasher.was_in_transaction


def test_mark_of_a_failed_attempt_stays_when_the_request_is_rolled_back(gatepost: Gatepost) -> None:
    def attempt() -> None:
        with gatepost.work() as work:
            browser, _ = create_browser(work)
            log_in_with_password(work, browser, "ada@example.com", "a wrong password")

    with pytest.raises(Denied):
        attempt()
    assert "login.failed" in gatepost.audit_events()


# -------------------------------------------------------------------------------------------------------------- limits


def visit(work: UnitOfWork, ip: str = "192.0.2.7") -> UnitOfWork:
    return replace(work, actor=Actor("anonymous", None, ip, "Browser/1.0", "req_1"))


def fail(work: UnitOfWork, email: str = "grace@example.com", *, ip: str = "192.0.2.7", times: int = 1) -> None:
    browser, _ = create_browser(work)
    for _ in range(times):
        with pytest.raises(Denied):
            log_in_with_password(visit(work, ip), browser, email, "a wrong password")


@pytest.mark.spec("B-01")
@pytest.mark.spec("NIST SP 800-63B-4 §3.2.2")
@pytest.mark.parametrize("email", ["grace@example.com", "nobody@example.com"])
def test_eleventh_attempt_from_one_network_is_limited_and_audited_even_with_the_right_password(
    work: UnitOfWork, user: User, email: str
) -> None:
    fail(work, email, times=10)
    browser, _ = create_browser(work)
    with pytest.raises(TooMany) as caught:
        log_in_with_password(visit(work), browser, email.upper(), GOOD)
    assert caught.value.retry_after == 600
    row = last_audited(work, AuditEvent.LOGIN_LIMITED)
    assert row.user_id == (user.id if email == user.email else None)
    assert row.ip == "192.0.2.7"
    assert audited(work, AuditEvent.LOGIN_SUCCEEDED) == []
    assert browser.current_session_id is None


def test_person_gets_in_from_elsewhere_when_somebody_guesses_from_one_network(work: UnitOfWork, user: User) -> None:
    fail(work, times=10)
    browser, _ = create_browser(work)
    session, _ = log_in_with_password(visit(work, "198.51.100.1"), browser, user.email, GOOD)
    assert session.user_id == user.id


@pytest.mark.spec("B-04")
def test_nobody_is_locked_out_on_a_browser_they_have_used_by_guesses_from_another(work: UnitOfWork, user: User) -> None:
    browser, _ = create_browser(work)
    log_in_with_password(visit(work), browser, user.email, GOOD)
    for network in range(10):
        fail(work, ip=f"198.51.100.{network}", times=10)
    stranger, _ = create_browser(work)
    with pytest.raises(TooMany):
        log_in_with_password(visit(work, "203.0.113.1"), stranger, user.email, GOOD)
    assert log_in_with_password(visit(work), browser, user.email, GOOD)


def test_guesses_on_a_known_browser_are_limited_too(work: UnitOfWork, user: User) -> None:
    browser, _ = create_browser(work)
    log_in_with_password(visit(work), browser, user.email, GOOD)
    for _ in range(10):
        with pytest.raises(Denied):
            log_in_with_password(visit(work), browser, user.email, "a wrong password")
    with pytest.raises(TooMany):
        log_in_with_password(visit(work), browser, user.email, GOOD)


def test_attempts_are_forgiven_when_the_person_gets_in(work: UnitOfWork, user: User, clock: FrozenClock) -> None:
    for _ in range(3):
        fail(work, times=9)
        browser, _ = create_browser(work)
        assert log_in_with_password(visit(work), browser, user.email, GOOD)


def test_person_gets_in_when_the_window_is_over(work: UnitOfWork, user: User, clock: FrozenClock) -> None:
    fail(work, times=10)
    clock.advance(600)
    browser, _ = create_browser(work)
    assert log_in_with_password(visit(work), browser, user.email, GOOD)


@pytest.mark.spec("B-02")
def test_attempt_counts_when_its_request_fails_later(gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> bool:
        raise RuntimeError

    monkeypatch.setattr(login_flow, "is_password", crash)

    def attempt() -> None:
        with gatepost.work() as work:
            browser, _ = create_browser(work)
            log_in_with_password(visit(work), browser, "ada@example.com", "anything")

    for _ in range(10):
        with pytest.raises(RuntimeError):
            attempt()
    with pytest.raises(TooMany):
        attempt()
    assert "login.limited" in gatepost.audit_events()
