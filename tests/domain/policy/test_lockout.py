"""How many attempts, and by whom are they counted? A network, an account, a browser that is known."""

from __future__ import annotations

import pytest

from server.domain.policy.lockout import FORGIVING, budgets_for, network_of


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
        ("", "unknown"),
        (None, "unknown"),
        ("not an address", "unknown"),
        ("192.0.2.7:8000", "unknown"),
    ],
)
def test_address_is_counted_under_its_network(ip: str | None, network: str) -> None:
    assert network_of(ip) == network


@pytest.mark.spec("NIST SP 800-63B-4 §3.2.2")
def test_attempt_from_an_unknown_browser_is_taken_from_three_budgets() -> None:
    budgets = budgets_for("digest", "192.0.2.7", None)
    assert [(budget.bucket, budget.attempts, budget.seconds) for budget in budgets] == [
        ("account:digest:192.0.2.7", 10, 600),
        ("account:digest", 100, 86400),
        ("network:192.0.2.7", 300, 86400),
    ]


def test_attempt_from_a_known_browser_is_taken_from_its_own_budget() -> None:
    budgets = budgets_for("digest", "192.0.2.7", "a-browser")
    assert [(budget.bucket, budget.attempts, budget.seconds) for budget in budgets] == [
        ("device:digest:a-browser", 10, 600),
        ("network:192.0.2.7", 300, 86400),
    ]


def test_network_alone_does_not_forgive_when_a_sign_in_succeeds() -> None:
    every = {*budgets_for("digest", "192.0.2.7", None), *budgets_for("digest", "192.0.2.7", "a-browser")}
    unforgiving = {budget.bucket for budget in every if not budget.bucket.startswith(FORGIVING)}
    assert unforgiving == {"network:192.0.2.7"}
