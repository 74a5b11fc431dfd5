"""Guessing with tricks: other spellings, many networks, doubled fields, one's own successes; and what answers tell."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from server.domain.login_attempts import LoginAttempts
from tests.support.application import PASSWORD, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import form_fields

ADA = "ada@example.com"
Fields = dict[str, str | list[str]]


def guess(gatepost: Gatepost, email: str = ADA, password: str = "a wrong guess", ip: str = "192.0.2.1") -> TestResponse:
    """One attempt, from a browser that was never here."""
    return submit(gatepost, {"username": email, "password": password}, ip)


def submit(gatepost: Gatepost, fields: Fields, ip: str = "192.0.2.1") -> TestResponse:
    browser = gatepost.browser()
    page = browser.get("/login")
    return browser.post("/login", data={**form_fields(page.text), **fields}, environ_base={"REMOTE_ADDR": ip})


def spent(gatepost: Gatepost) -> dict[str, int]:
    """Attempts by bucket, with digests of accounts left out of the names."""
    with gatepost.work() as work:
        rows = work.db.scalars(select(LoginAttempts)).all()
    return {re.sub(r"[0-9a-f]{64}", "…", row.bucket): row.attempts for row in rows}


# -------------------------------------------------------------------------------------------------- what answers tell

Change = Callable[[Gatepost], tuple[str, str]]


def nobody(_: Gatepost) -> tuple[str, str]:
    return "eve@example.com", PASSWORD


def wrong(_: Gatepost) -> tuple[str, str]:
    return ADA, "a wrong guess"


def disabled(gatepost: Gatepost) -> tuple[str, str]:
    gatepost.change_user(ADA, disabled_at=gatepost.clock.now())
    return ADA, PASSWORD


def without_password(gatepost: Gatepost) -> tuple[str, str]:
    gatepost.change_user(ADA, password_hash=None)
    return ADA, PASSWORD


def overlong(_: Gatepost) -> tuple[str, str]:
    return ADA, PASSWORD + "x" * 1024


def masked(response: TestResponse, email: str) -> tuple[int, list[tuple[str, str]], str]:
    """What the answer shows, without what differs between any two answers."""
    headers = [(name, value) for name, value in response.headers if name not in {"X-Request-ID", "Date"}]
    text = re.sub(r'(name="csrf_token" value=)"[^"]*"|nonce-[^\'"]*', r"\1", response.text.replace(email, "EMAIL"))
    return response.status_code, headers, text


@pytest.mark.spec("E-01")
@pytest.mark.spec("INV-28")
@pytest.mark.parametrize("reason", [nobody, wrong, disabled, without_password, overlong])
def test_answer_is_the_same_whatever_the_reason(make_gatepost: GatepostMaker, reason: Change) -> None:
    reference = masked(guess(make_gatepost(), "eve@example.com"), "eve@example.com")
    gatepost = make_gatepost()
    email, password = reason(gatepost)
    assert masked(guess(gatepost, email, password), email) == reference


@pytest.mark.spec("E-01")
@pytest.mark.parametrize("reason", [nobody, wrong, disabled, without_password])
def test_limit_is_the_same_whatever_the_reason(make_gatepost: GatepostMaker, reason: Change) -> None:
    gatepost = make_gatepost()
    email, password = reason(gatepost)
    for _ in range(10):
        assert guess(gatepost, email, password).status_code == 400
    refused = guess(gatepost, email, password)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "600")
    assert "Try again in 10 minutes." in refused.text


# ------------------------------------------------------------------------------------------------------ who is counted


@pytest.mark.spec("B-03")
@pytest.mark.spec("INV-27")
def test_addresses_of_one_ipv6_network_share_the_budget(gatepost: Gatepost) -> None:
    for number in range(10):
        assert guess(gatepost, ip=f"2001:db8:1:2::{number:x}").status_code == 400
    assert guess(gatepost, ip="2001:db8:1:2:ffff::1").status_code == 429
    assert guess(gatepost, ip="2001:db8:1:3::1").status_code == 400


@pytest.mark.spec("B-03")
@pytest.mark.spec("INV-27")
def test_spellings_of_one_address_are_one_account(gatepost: Gatepost) -> None:
    for email in (ADA, "ADA@EXAMPLE.COM", " ada@example.com", "ａda@example.com", "Ada@Example.Com "):
        guess(gatepost, email)
    assert spent(gatepost) == {"account:…:192.0.2.1": 5, "account:…": 5, "network:192.0.2.1": 5, "everybody": 5}


@pytest.mark.spec("B-05")
@pytest.mark.parametrize(
    "fields",
    [
        {"username": ADA, "password": ["a wrong guess", PASSWORD]},
        {"username": ADA, "password": "a wrong guess", "password[]": [PASSWORD, PASSWORD]},
        {"username": [ADA, "eve@example.com"], "password": "a wrong guess"},
        {"username": ADA, "password": '["a wrong guess", "' + PASSWORD + '"]'},
    ],
)
def test_request_is_one_attempt_whatever_it_repeats(gatepost: Gatepost, fields: Fields) -> None:
    assert submit(gatepost, fields).status_code == 400
    assert set(spent(gatepost).values()) <= {1}
    assert "login.succeeded" not in gatepost.audit_events()


@pytest.mark.spec("B-06")
def test_ones_own_success_gives_neither_the_victim_nor_the_network_back(gatepost: Gatepost) -> None:
    gatepost.add_user("mallory@example.com", "a password of her own", name="Mallory")
    for _ in range(10):
        assert guess(gatepost).status_code == 400
        assert guess(gatepost, "mallory@example.com", "a password of her own").status_code == 303
    assert guess(gatepost).status_code == 429
    assert spent(gatepost)["network:192.0.2.1"] == 11


@pytest.mark.spec("B-01")
def test_hundred_failures_are_the_most_an_account_has_in_a_day(gatepost: Gatepost) -> None:
    answers = [guess(gatepost, ip=f"198.51.100.{number % 12}").status_code for number in range(110)]
    assert answers.count(400) == 100
    assert guess(gatepost, password=PASSWORD, ip="203.0.113.1").status_code == 429
    gatepost.clock.advance(86400)
    assert guess(gatepost, password=PASSWORD, ip="203.0.113.1").status_code == 303


@pytest.mark.spec("B-01")
@pytest.mark.spec("B-04")
def test_brake_stops_browsers_nobody_knows_when_everybody_fails_and_lets_people_in_on_their_own(
    make_gatepost: GatepostMaker,
) -> None:
    gatepost = make_gatepost(login_failures_per_minute=5)
    own = gatepost.browser()
    page = own.get("/login")
    own.post("/login", data={**form_fields(page.text), "username": ADA, "password": PASSWORD})
    for number in range(5):
        assert guess(gatepost, f"person{number}@example.com", ip=f"198.51.100.{number}").status_code == 400
    refused = guess(gatepost, "grace@example.com", ip="203.0.113.1")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    page = own.get("/login")
    fields = {**form_fields(page.text), "username": ADA, "password": PASSWORD}
    assert own.post("/login", data=fields).status_code == 303
    gatepost.clock.advance(60)
    assert guess(gatepost, "grace@example.com", ip="203.0.113.1").status_code == 400


@pytest.mark.spec("B-04")
def test_one_network_uses_up_neither_the_account_elsewhere_nor_everybodys_budget(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(login_failures_per_minute=20)
    answers = [guess(gatepost).status_code for _ in range(120)]
    assert (answers.count(400), answers.count(429)) == (10, 110)
    assert guess(gatepost, password=PASSWORD, ip="198.51.100.1").status_code == 303


@pytest.mark.spec("P-07")
def test_password_of_a_megabyte_is_refused_before_it_is_read(gatepost: Gatepost) -> None:
    assert guess(gatepost, password="x" * 2**20).status_code == 413
    assert spent(gatepost) == {}
