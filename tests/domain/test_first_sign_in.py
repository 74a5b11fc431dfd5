"""The first sign-in on a browser: one statement writes what the long way writes, or nothing at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import inspect, select, update

from server.config import Settings
from server.domain import login_flow
from server.domain.actor import Actor
from server.domain.audit_events import AuditEvent
from server.domain.audit_records import AuditRecord
from server.domain.authorization_requests import AuthorizationRequest, park_request
from server.domain.browsers import Browser, create_browser, read_browser
from server.domain.errors import Denied
from server.domain.first_sign_in import sign_in_first
from server.domain.login_attempts import LoginAttempts, spend_attempt
from server.domain.login_flow import log_in_with_password
from server.domain.passwords import is_password
from server.domain.policy.lockout import Budget
from server.domain.sessions import Session, replace_secret
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User, delete_user, disable_user, read_user_by_email
from server.infra import rate_limiter
from server.infra.autocommit import Autocommit
from server.infra.database import Base, open_session
from server.infra.migrations import upgrade
from server.infra.password_hasher import PasswordHasher
from server.infra.rate_limiter import RateLimits
from tests.domain.factories import audited, last_audited, make_client, make_user
from tests.support.application import Gatepost
from tests.support.statements import each_statement

PASSWORD = "correct horse battery staple"
EMAIL = "grace@example.com"
BUDGETS = (Budget("network:192.0.2.7", 300, 86400), Budget("account:one", 10, 600, tier=1))
HOW = (["pwd"], "1")


@pytest.fixture
def work(gatepost: Gatepost, database_url: str) -> Iterator[UnitOfWork]:
    """In a database of each kind: the statement is written for both."""
    settings = Settings(_env_file=None, database_url=database_url)
    upgrade(settings)
    autocommit = Autocommit(settings)
    runtime = replace(gatepost.runtime, settings=settings, limits=RateLimits(), autocommit=autocommit)
    with open_session(settings) as db:
        actor = Actor("anonymous", None, "192.0.2.7", "Browser/1.0", "req_1")
        work = UnitOfWork.begin(runtime, db, actor)
        make_user(work, EMAIL, PASSWORD)
        db.commit()
        yield work
    autocommit.dispose()


def visit(work: UnitOfWork) -> tuple[Browser, User, str]:
    """A new browser and the person, as a request reads them, and the cookie's secret."""
    _, secret = create_browser(work)
    work.db.commit()
    browser, user = read_browser(work, secret), read_user_by_email(work, EMAIL)
    assert browser is not None
    assert user is not None
    return browser, user, secret


def rows(work: UnitOfWork, table: type[Base]) -> list[dict[str, Any]]:
    names = inspect(table).columns.keys()
    found = work.db.execute(select(*(getattr(table, name) for name in names))).all()
    work.db.rollback()
    return [dict(zip(names, row, strict=True)) for row in found]


def test_rows_are_those_of_the_long_way(work: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    for way in (sign_in_first, lambda *_: None):
        monkeypatch.setattr(login_flow, "sign_in_first", way)
        _, _, secret = visit(work)
        browser = read_browser(work, secret)
        assert browser is not None
        session, after = log_in_with_password(work, browser, EMAIL, PASSWORD)
        work.db.commit()
        now = read_browser(work, after)
        assert now is not None
        assert read_browser(work, secret) is None
        assert (now.current_session_id, now.previous_secret_digest) == (session.id, browser.previous_secret_digest)
        assert browser.secret_digest == now.secret_digest == browser.presented_digest
        (row,) = (row for row in rows(work, Session) if row["id"] == session.id)
        assert {name: getattr(session, name) for name in row} == row
        assert row.pop("browser_id") == browser.id
        audit_row = {name: value for name, value in rows(work, AuditRecord)[-1].items() if name != "id"}
        attempts = sorted((each["bucket"], each["attempts"]) for each in rows(work, LoginAttempts))
        written.append(({**row, "id": None}, audit_row, attempts))
    assert written[0] == written[1]
    assert written[0][1]["event"] == "login.succeeded"
    assert {count for _, count in written[0][2]} == {0}


def change_password(work: UnitOfWork, user: User, browser: Browser) -> None:
    work.db.execute(update(User).where(User.id == user.id).values(password_hash="another"))


def disable(work: UnitOfWork, user: User, browser: Browser) -> None:
    disable_user(work, work.db.get_one(User, user.id))


def delete(work: UnitOfWork, user: User, browser: Browser) -> None:
    delete_user(work, work.db.get_one(User, user.id))


def sign_in_elsewhere(work: UnitOfWork, user: User, browser: Browser) -> None:
    known = work.db.get_one(Browser, browser.id)
    known.presented_digest = known.secret_digest
    replace_secret(work, known)


def forget_browser(work: UnitOfWork, user: User, browser: Browser) -> None:
    work.db.delete(work.db.get_one(Browser, browser.id))


MEANWHILE: dict[str, Callable[[UnitOfWork, User, Browser], None]] = {
    "password changed": change_password,
    "suspended": disable,
    "deleted": delete,
    "secret replaced": sign_in_elsewhere,
    "browser forgotten": forget_browser,
}


@pytest.mark.parametrize("is_part_of_more", [False, True], ids=["alone", "in a transaction"])
@pytest.mark.parametrize("what", MEANWHILE)
def test_nothing_is_written_when_something_happened_while_the_password_was_verified(
    work: UnitOfWork, what: str, is_part_of_more: bool
) -> None:
    browser, user, _ = visit(work)
    spend_attempt(work, BUDGETS)
    MEANWHILE[what](work, user, browser)
    work.db.commit()
    before = [rows(work, table) for table in (Browser, Session, AuditRecord, LoginAttempts)]
    if is_part_of_more:
        work.db.connection()
    assert sign_in_first(work, browser, user, HOW, BUDGETS) is None
    work.db.commit()
    assert [rows(work, table) for table in (Browser, Session, AuditRecord, LoginAttempts)] == before


def test_nothing_is_tried_when_somebody_has_signed_in_on_the_browser(work: UnitOfWork) -> None:
    browser, user, _ = visit(work)
    assert sign_in_first(work, browser, user, HOW, BUDGETS) is not None
    with each_statement([work.runtime.autocommit.engine], pytest.fail):
        assert sign_in_first(work, browser, user, HOW, BUDGETS) is None


@pytest.mark.parametrize(("what", "refusal"), [("password changed", "incorrect"), ("secret replaced", "another tab")])
def test_long_way_says_what_happened_when_nothing_was_written(
    work: UnitOfWork, monkeypatch: pytest.MonkeyPatch, what: str, refusal: str
) -> None:
    browser, user, _ = visit(work)

    def interrupted(*given: Any) -> bool:
        MEANWHILE[what](work, user, browser)
        work.db.commit()
        return is_password(*given)

    monkeypatch.setattr(login_flow, "is_password", interrupted)
    with pytest.raises(Denied, match=refusal):
        log_in_with_password(work, browser, EMAIL, PASSWORD)
    work.db.rollback()
    assert len(audited(work, AuditEvent.LOGIN_FAILED)) == (1 if what == "password changed" else 0)
    assert audited(work, AuditEvent.LOGIN_SUCCEEDED) == []
    if what == "password changed":
        assert last_audited(work, AuditEvent.LOGIN_FAILED).actor_kind == "anonymous"


def test_session_and_request_are_written_together(work: UnitOfWork) -> None:
    browser, _, _ = visit(work)
    request = park_request(work, make_client(work), {}, browser)
    work.db.commit()
    session, _ = log_in_with_password(work, browser, EMAIL, PASSWORD, request)
    assert work.is_in_transaction
    assert request.session_id == session.id
    work.db.rollback()
    assert rows(work, Session) == []
    assert [row["session_id"] for row in rows(work, AuthorizationRequest)] == [None]
    assert audited(work, AuditEvent.LOGIN_SUCCEEDED) == []


class WatchingHasher(PasswordHasher):
    """Notes whether anything is held in the database while it works."""

    def __init__(self, work: UnitOfWork) -> None:
        super().__init__(work.settings.model_copy(update={"argon2_time_cost": 3}))
        self.work = work
        self.held: list[bool] = []

    def hash(self, password: str) -> str:
        self.held.append(self.work.is_in_transaction)
        return super().hash(password)

    def verify(self, password_hash: str | None, password: str) -> bool:
        self.held.append(self.work.is_in_transaction)
        return super().verify(password_hash, password)


def test_nothing_is_held_while_a_hash_is_renewed_for_a_pending_request(work: UnitOfWork) -> None:
    browser, user, _ = visit(work)
    request = park_request(work, make_client(work), {}, browser)
    hasher = WatchingHasher(work)
    renewing = replace(work, runtime=replace(work.runtime, password_hasher=hasher))
    session, _ = log_in_with_password(renewing, browser, EMAIL, PASSWORD, request)
    work.db.commit()
    assert hasher.held == [False, False]
    assert [row["session_id"] for row in rows(work, AuthorizationRequest)] == [session.id]
    (person,) = (row for row in rows(work, User) if row["id"] == user.id)
    assert ",t=3," in person["password_hash"]


class Remembering:
    """A store elsewhere."""

    def __init__(self) -> None:
        self.given_back: list[str] = []

    def spend(self, budgets: Sequence[rate_limiter.Budget], now: datetime) -> int:
        return 0

    def give_back(self, budgets: Sequence[rate_limiter.Budget], now: datetime) -> None:
        self.given_back += [budget.bucket for budget in budgets]


def test_attempt_is_given_back_where_it_was_counted(work: UnitOfWork) -> None:
    browser, user, _ = visit(work)
    store = Remembering()
    elsewhere = replace(work, runtime=replace(work.runtime, limits=RateLimits(store)))
    assert sign_in_first(elsewhere, browser, user, HOW, BUDGETS) is not None
    assert store.given_back == [budget.bucket for budget in BUDGETS]
    assert rows(work, LoginAttempts) == []


def test_sign_in_waits_for_a_reset_and_finds_it(work: UnitOfWork) -> None:
    browser, user, _ = visit(work)
    answers: list[Any] = []
    change_password(work, user, browser)
    attempt = threading.Thread(target=lambda: answers.append(sign_in_first(beside, browser, user, HOW, ())))
    with open_session(work.settings) as db:
        beside = replace(work, db=db)
        attempt.start()
        attempt.join(0.3)
        assert answers == []
        work.db.commit()
        attempt.join(10)
    assert answers == [None]
    assert rows(work, Session) == []
