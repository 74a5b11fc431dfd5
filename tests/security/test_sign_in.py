"""Passwords, guessing and enumeration: the rules P, B and E, each seen from outside."""

import re
import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from server.domain.errors import Invalid
from server.domain.users import User, disable_user, get_user
from server.infra.password_hasher import PasswordHasher
from tests.support.application import PASSWORD, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import form_fields

ADA = "ada@example.com"


def sign_in(
    gatepost: Gatepost, password: str, email: str = ADA, browser: FlaskClient | None = None, **request: Any
) -> TestResponse:
    browser = browser or gatepost.browser()
    fields = {**form_fields(browser.get("/login").text), "username": email, "password": password}
    return browser.post("/login", data=fields, **request)


def stored_hash(gatepost: Gatepost) -> str:
    with gatepost.work() as work:
        found = work.db.query(User).filter_by(email=ADA).one().password_hash
    assert found is not None
    return found


def masked(answer: TestResponse) -> tuple[int, str, list[tuple[str, str]]]:
    """An answer without what differs each time: request id, token, the address that was typed and its length."""
    text = re.sub(r'value="[^"]*"', "value", answer.text)
    headers = [
        (name, value) for name, value in answer.headers if name not in ("X-Request-ID", "Set-Cookie", "Content-Length")
    ]
    return answer.status_code, text, headers


@pytest.mark.spec("P-01")
def test_password_is_stored_as_argon2id_with_at_least_the_recommended_work(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(argon2_time_cost=2, argon2_memory_kib=19456)
    assert sign_in(gatepost, PASSWORD).status_code == 303
    assert stored_hash(gatepost).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.spec("P-06")
def test_weaker_hash_is_replaced_when_its_person_signs_in(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(argon2_memory_kib=9000)
    assert "m=8192," in stored_hash(gatepost)
    assert sign_in(gatepost, "wrong").status_code == 400
    assert "m=8192," in stored_hash(gatepost)
    assert sign_in(gatepost, PASSWORD).status_code == 303
    assert "m=9000," in stored_hash(gatepost)


@pytest.mark.parametrize(
    "other", [PASSWORD + " ", " " + PASSWORD, PASSWORD[:-1], PASSWORD.upper(), PASSWORD + "\0", PASSWORD + "\n", ""]
)
@pytest.mark.spec("P-02")
def test_password_is_wrong_when_a_single_character_differs(gatepost: Gatepost, other: str) -> None:
    assert sign_in(gatepost, other).status_code == 400


@pytest.mark.spec("P-02")
def test_last_byte_counts_when_a_password_has_as_many_as_may_be(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost()
    words = "".join(f"{number:04d}-pillow " for number in range(100))[:1023]
    gatepost.add_user("grace@example.com", password=words + "a")
    assert sign_in(gatepost, words + "b", "grace@example.com").status_code == 400
    assert sign_in(gatepost, words + "a", "grace@example.com").status_code == 303


@pytest.mark.spec("P-03", "P-04", "P-05")
@pytest.mark.parametrize(
    "password",
    [
        "seven77",
        "password",
        "passwordpassword",
        "123456789012345",
        "gatepostgatepost",
        "grace hopper grace",
        "grace@example.com",
    ],
)
def test_password_is_refused_when_it_is_short_known_or_about_its_person(gatepost: Gatepost, password: str) -> None:
    with pytest.raises(Invalid) as refusal:
        gatepost.add_user("grace@example.com", password=password, name="Grace Hopper")
    assert refusal.value.field == "password"
    assert password not in str(refusal.value)


@pytest.mark.spec("P-07", "INV-41")
def test_huge_password_is_refused_before_it_is_hashed(gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(PasswordHasher, "verify", lambda self, encoded, password: hashed.append(password))
    # Of this process's own work: whatever else the machine is busy with does not count.
    began = time.process_time()
    assert sign_in(gatepost, "x" * 60_000).status_code == 400
    assert sign_in(gatepost, "x" * 1_048_576).status_code == 413
    assert time.process_time() - began < 2
    assert hashed == []


@pytest.mark.spec("B-01", "INV-27")
def test_guessing_stops_when_an_accounts_budget_is_used_up(gatepost: Gatepost) -> None:
    for _ in range(10):
        assert sign_in(gatepost, "wrong").status_code == 400
    limited = sign_in(gatepost, PASSWORD)
    assert limited.status_code == 429
    assert int(limited.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "alias", ["ADA@EXAMPLE.COM", " ada@example.com", "ada@example.com\u2003", "\uff41da@example.com"]
)
@pytest.mark.spec("B-03", "INV-27")
def test_alias_has_no_budget_of_its_own(gatepost: Gatepost, alias: str) -> None:
    for _ in range(10):
        sign_in(gatepost, "wrong", alias)
    assert sign_in(gatepost, PASSWORD).status_code == 429


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"]
)
@pytest.mark.spec("B-03", "H-03", "INV-27")
def test_forged_address_has_no_budget_of_its_own(gatepost: Gatepost, header: str) -> None:
    for number in range(10):
        sign_in(gatepost, "wrong", headers={header: f"198.51.100.{number}"})
    assert sign_in(gatepost, PASSWORD, headers={header: "203.0.113.9"}).status_code == 429


@pytest.mark.spec("B-04")
def test_person_gets_in_on_a_known_browser_when_a_stranger_used_up_the_account(gatepost: Gatepost) -> None:
    known = gatepost.browser()
    assert sign_in(gatepost, PASSWORD, browser=known).status_code == 303
    for network in range(10):
        for _ in range(10):
            sign_in(gatepost, "wrong", environ_base={"REMOTE_ADDR": f"198.51.100.{network}"})
    assert sign_in(gatepost, PASSWORD, environ_base={"REMOTE_ADDR": "203.0.113.1"}).status_code == 429
    assert sign_in(gatepost, PASSWORD, browser=known).status_code == 303


@pytest.mark.spec("B-05")
def test_one_request_is_one_guess_however_many_passwords_it_holds(gatepost: Gatepost) -> None:
    browser = gatepost.browser()
    token = form_fields(browser.get("/login").text)["csrf_token"]
    many = {"csrf_token": token, "username": ADA, "password": ["wrong", PASSWORD], "password[]": ["x", PASSWORD]}
    assert browser.post("/login", data=many).status_code == 400
    assert browser.post("/login", json={"csrf_token": token, "username": ADA, "password": PASSWORD}).status_code == 403
    assert "login.succeeded" not in gatepost.audit_events()


@pytest.mark.spec("B-06")
def test_own_success_does_not_give_a_guesser_new_tries_at_somebody_else(gatepost: Gatepost) -> None:
    gatepost.add_user("eve@example.com")
    for _ in range(10):
        assert sign_in(gatepost, "wrong").status_code == 400
        assert sign_in(gatepost, PASSWORD, "eve@example.com").status_code == 303
    assert sign_in(gatepost, "wrong").status_code == 429


@pytest.mark.spec("E-01", "INV-28")
def test_refusal_is_the_same_whatever_is_true_of_the_account(gatepost: Gatepost) -> None:
    gatepost.add_user("disabled@example.com")
    with gatepost.work() as work:
        disable_user(work, get_user(work, "disabled@example.com"))
    cases = {
        "wrong": (ADA, "wrong"),
        "nobody": ("nobody@example.com", PASSWORD),
        "disabled": ("disabled@example.com", PASSWORD),
    }
    answers = {name: masked(sign_in(gatepost, password, email)) for name, (email, password) in cases.items()}
    assert len({str(answer) for answer in answers.values()}) == 1, answers
    for _ in range(9):
        for email, password in cases.values():
            sign_in(gatepost, "wrong" if email == ADA else password, email)
    limited = [masked(sign_in(gatepost, password, email)) for email, password in cases.values()]
    assert {answer[0] for answer in limited} == {429}
    assert len({str(answer) for answer in limited}) == 1
