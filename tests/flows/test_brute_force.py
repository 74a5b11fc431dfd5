"""Guessing passwords: limited per account, per device and per network, in words a person understands."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, event
from werkzeug.test import TestResponse

from server.infra.write_lock import begin_writing
from tests.bench.counting import Recorder
from tests.support.application import PASSWORD, Gatepost
from tests.support.flow import Flow, flow_of, form_fields


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/callback",))


def guess(flow: Flow, password: str = "a wrong guess", email: str | None = None, ip: str = "192.0.2.1") -> TestResponse:
    page = flow.browser.get("/login")
    fields = {**form_fields(page.text), "username": email or flow.email, "password": password}
    return flow.browser.post("/login", data=fields, environ_base={"REMOTE_ADDR": ip})


def exhaust(flow: Flow, **changes: str) -> None:
    for _ in range(10):
        assert guess(flow, **changes).status_code == 400


@pytest.mark.spec("B-01")
@pytest.mark.spec("NIST SP 800-63B-4 §3.2.2")
def test_page_says_how_long_when_the_account_was_guessed_at_ten_times(flow: Flow) -> None:
    exhaust(flow)
    refused = guess(flow)
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "600"
    assert "Too many attempts to sign in. Try again in 10 minutes." in refused.text
    assert flow.gatepost.audit_events()[-1] == "login.limited"


@pytest.mark.spec("B-01")
def test_right_password_is_refused_too_when_the_budget_is_used_up(flow: Flow) -> None:
    exhaust(flow)
    assert guess(flow, PASSWORD).status_code == 429
    flow.gatepost.clock.advance(600)
    assert guess(flow, PASSWORD).status_code == 303


@pytest.mark.spec("E-01")
def test_answers_are_the_same_when_there_is_no_such_account(flow: Flow) -> None:
    exhaust(flow, email="nobody@example.com")
    refused = guess(flow, email="nobody@example.com")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "600")


@pytest.mark.spec("B-03")
@pytest.mark.parametrize("alias", ["ADA@example.com", " ada@example.com ", "ａda@example.com"])
def test_other_spellings_share_the_budget(flow: Flow, alias: str) -> None:
    exhaust(flow)
    assert guess(flow, email=alias).status_code == 429


def test_other_accounts_and_other_networks_go_on_when_one_is_limited(flow: Flow) -> None:
    exhaust(flow)
    assert guess(flow, email="grace@example.com").status_code == 400
    assert guess(flow, PASSWORD, ip="198.51.100.9").status_code == 303


@pytest.mark.spec("B-01")
def test_account_is_limited_from_everywhere_when_many_networks_guess(flow: Flow) -> None:
    for network in range(10):
        exhaust(flow, ip=f"198.51.100.{network}")
    assert guess(flow, ip="203.0.113.1").status_code == 429


@pytest.mark.spec("B-04")
def test_person_gets_in_on_their_own_browser_when_somebody_else_used_up_the_account(flow: Flow) -> None:
    """No malicious lockout: a browser that the person has used has a budget of its own."""
    assert guess(flow, PASSWORD).status_code == 303
    stranger = Flow(flow.gatepost, flow.client, flow.secret, flow.gatepost.browser())
    for network in range(10):
        exhaust(stranger, ip=f"198.51.100.{network}")
    assert guess(stranger, PASSWORD, ip="203.0.113.1").status_code == 429
    assert guess(flow, PASSWORD).status_code == 303


@pytest.mark.spec("B-01")
def test_network_is_limited_when_it_guesses_at_many_accounts(flow: Flow) -> None:
    for number in range(300):
        assert guess(flow, email=f"person{number}@example.com").status_code == 400
    assert guess(flow, PASSWORD).status_code == 429
    # One's own success gives the network nothing back.
    flow.gatepost.clock.advance(86400)
    assert guess(flow, PASSWORD).status_code == 303


@pytest.mark.spec("B-03")
def test_forged_header_does_not_make_a_new_network(flow: Flow) -> None:
    exhaust(flow)
    page = flow.browser.get("/login")
    fields = {**form_fields(page.text), "username": flow.email, "password": "a wrong guess"}
    forged = flow.browser.post(
        "/login", data=fields, headers={"X-Forwarded-For": "203.0.113.7"}, environ_base={"REMOTE_ADDR": "192.0.2.1"}
    )
    assert forged.status_code == 429


def costs_of_a_sign_in(gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int, list[str]]:
    """Its transactions on a connection of their own, those beside it, and the statements of both."""
    recorder = Recorder(gatepost.engines, monkeypatch)
    beside = []

    def counted(connection: Connection, *patience: float) -> None:
        beside.append(connection)
        begin_writing(connection, *patience)

    monkeypatch.setattr("server.infra.autocommit.begin_writing", counted)
    event.listen(gatepost.engine, "begin", lambda _: recorder.seen.update(["begun"]))
    browser = gatepost.browser()
    fields = {**form_fields(browser.get("/login").text), "username": "ada@example.com", "password": PASSWORD}
    recorder.seen.clear()
    with recorder.counting():
        assert browser.post("/login", data=fields).status_code == 303
    return recorder.seen["begun"], len(beside), list(recorder.statements)


def test_sign_in_costs_seven_statements_and_two_commits(gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside its hash: browser, person; count; browser and person at once, session, audit row, give back."""
    begun, beside, statements = costs_of_a_sign_in(gatepost, monkeypatch)
    assert (begun, beside, len(statements)) == (0, 2, 7), "\n".join(statements)


@pytest.mark.postgres
def test_sign_in_costs_postgresql_four_round_trips(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Browser, person, count, and all that a sign-in writes; each a transaction of its own."""
    gatepost = Gatepost(tmp_path, database_url=postgres_url)
    gatepost.add_user()
    try:
        begun, beside, statements = costs_of_a_sign_in(gatepost, monkeypatch)
    finally:
        gatepost.close()
    assert (begun, beside, len(statements)) == (0, 0, 4), "\n".join(statements)
