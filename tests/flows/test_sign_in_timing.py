"""How long a refused sign-in takes tells nothing about the account: two samples of times cannot be told apart.

Nothing here depends on how fast the machine is. The reasons are tried in turn, so that whatever else it does touches
all of them alike, and the ranks of the times are compared (Mann-Whitney). `GATEPOST_TEST_SAMPLES=1000` asks for more.
"""

from __future__ import annotations

import math
import os
import random
import time
from itertools import combinations
from statistics import median

import pytest

from server.infra.password_hasher import PasswordHasher
from tests.support.application import PASSWORD, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import form_fields

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SAMPLES = int(os.environ.get("GATEPOST_TEST_SAMPLES", "80"))
#: Of two samples that differ by nothing but chance, one in a million differs so much.
SUSPICIOUS = 1e-6
#: Each reason keeps its account, so that budgets and tables grow alike.
REASONS = {
    "no such person": ("nobody@example.com", PASSWORD),
    "wrong password": ("ada@example.com", "a wrong guess"),
    "suspended": ("suspended@example.com", PASSWORD),
    "no password": ("passwordless@example.com", PASSWORD),
}


def likelihood(left: list[float], right: list[float]) -> float:
    """How likely it is that samples of one distribution differ as much: two-sided, by the normal approximation."""
    ordered = sorted([(value, 0) for value in left] + [(value, 1) for value in right])
    ranks = sum(rank for rank, (_, side) in enumerate(ordered, 1) if side == 0)
    n, m = len(left), len(right)
    expected, deviation = n * (n + m + 1) / 2, math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(ranks - expected) / deviation / math.sqrt(2))


def times(gatepost: Gatepost, samples: int) -> dict[str, list[float]]:
    """Seconds that each reason's refusals took, all tried in turn and in changing order."""
    found: dict[str, list[float]] = {reason: [] for reason in REASONS}
    ready = {reason: gatepost.browser() for reason in REASONS}
    for number in range(samples + 5):
        for reason in random.sample(list(REASONS), len(REASONS)):
            email, password = REASONS[reason]
            fields = {**form_fields(ready[reason].get("/login").text), "username": email, "password": password}
            # A network of its own each time: nobody runs out of attempts.
            peer = f"10.{number // 250}.{number % 250}.{list(REASONS).index(reason)}"
            began = time.perf_counter()
            answer = ready[reason].post("/login", data=fields, environ_base={"REMOTE_ADDR": peer})
            took = time.perf_counter() - began
            assert answer.status_code == 400, answer.text
            if number >= 5:
                found[reason].append(took)
        # The account's budget of a day is not what is looked at here.
        gatepost.clock.advance(86400)
    return found


@pytest.fixture
def gatepost(make_gatepost: GatepostMaker) -> Gatepost:
    gatepost = make_gatepost(login_failures_per_minute=1_000_000)
    gatepost.add_user("suspended@example.com")
    gatepost.change_user("suspended@example.com", disabled_at=gatepost.clock.now())
    gatepost.add_user("passwordless@example.com")
    gatepost.change_user("passwordless@example.com", password_hash=None)
    return gatepost


@pytest.mark.spec("E-01")
@pytest.mark.spec("INV-28")
def test_times_of_refusals_cannot_be_told_apart(gatepost: Gatepost) -> None:
    found = times(gatepost, SAMPLES)
    suspicious = {
        f"{one} / {other}": (median(found[one]), median(found[other]))
        for one, other in combinations(REASONS, 2)
        if likelihood(found[one], found[other]) < SUSPICIOUS
    }
    assert suspicious == {}


def test_test_notices_when_nothing_is_hashed_for_somebody_who_does_not_exist(
    gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the times above pass means something: a server without a decoy is found out."""
    verify = PasswordHasher.verify

    def hasty(self: PasswordHasher, password_hash: str | None, password: str) -> bool:
        return password_hash is not None and verify(self, password_hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", hasty)
    stranger, known = list[float](), list[float]()
    # On a busy machine it takes more samples; without a difference all of them would not do.
    for _ in range(10):
        found = times(gatepost, 30)
        stranger, known = stranger + found["no such person"], known + found["wrong password"]
        if likelihood(stranger, known) < SUSPICIOUS:
            break
    assert likelihood(stranger, known) < SUSPICIOUS


@pytest.mark.parametrize(
    ("left", "right", "alike"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8] * 5, [1, 2, 3, 4, 5, 6, 7, 8] * 5, True),
        (list(range(40)), list(range(1, 41)), True),
        (list(range(40)), list(range(100, 140)), False),
        (list(range(100, 140)), list(range(40)), False),
    ],
)
def test_samples_differ_when_one_is_slower(left: list[float], right: list[float], alike: bool) -> None:
    assert (likelihood(left, right) > SUSPICIOUS) is alike
