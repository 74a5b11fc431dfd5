"""Enumeration by time: as much work for a stranger as for somebody with an account."""

import time
from statistics import median
from typing import Any

import pytest

from server.domain.users import disable_user, get_user
from server.infra.password_hasher import PasswordHasher
from tests.security.test_sign_in import ADA, sign_in
from tests.support.deployment import GatepostMaker
from tests.support.flow import form_fields


class CountedHasher:
    """The deployment's hasher, and how often it worked."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self.hasher, self.count = hasher, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.hasher, name)

    def verify(self, password_hash: str | None, password: str) -> bool:
        self.count += 1
        return self.hasher.verify(password_hash, password)


@pytest.mark.parametrize("email", [ADA, "nobody@example.com", "disabled@example.com", "no address", ""])
@pytest.mark.spec("E-01", "INV-28")
def test_one_hash_is_computed_whatever_is_true_of_the_account(make_gatepost: GatepostMaker, email: str) -> None:
    gatepost = make_gatepost()
    gatepost.add_user("disabled@example.com")
    with gatepost.work() as work:
        disable_user(work, get_user(work, "disabled@example.com"))
    counted = CountedHasher(gatepost.runtime.password_hasher)
    object.__setattr__(gatepost.runtime, "password_hasher", counted)
    sign_in(gatepost, "a wrong password", email)
    assert counted.count == 1


@pytest.mark.slow
@pytest.mark.spec("E-01", "INV-28")
def test_refusal_takes_as_long_whether_or_not_there_is_such_an_account(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(argon2_time_cost=2, argon2_memory_kib=19456, login_failures_per_minute=10_000)
    gatepost.add_user("grace@example.com")
    gatepost.add_user("disabled@example.com")
    with gatepost.work() as work:
        disable_user(work, get_user(work, "disabled@example.com"))
    spent: dict[str, list[float]] = {"grace@example.com": [], "nobody@example.com": [], "disabled@example.com": []}
    browser = gatepost.browser()
    typical: dict[str, float] = {}
    # On a busy machine it takes more samples until the noise is gone; a hash more or less stays.
    for turn in range(600):
        for email in spent:
            fields = {**form_fields(browser.get("/login").text), "username": email, "password": "wrong"}
            address = {"REMOTE_ADDR": f"198.{51 + turn // 200}.{turn % 200}.{len(email)}"}
            began = time.perf_counter()
            assert browser.post("/login", data=fields, environ_base=address).status_code == 400
            spent[email].append(time.perf_counter() - began)
        typical = {email: median(times) for email, times in spent.items()}
        if turn >= 60 and max(typical.values()) - min(typical.values()) < 0.2 * min(typical.values()):
            break
    # One hash takes tens of milliseconds; leaving it out for strangers would show at once.
    assert max(typical.values()) - min(typical.values()) < 0.25 * min(typical.values()), typical
