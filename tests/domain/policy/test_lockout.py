"""How many attempts, and by whom are they counted? A network, an account, a browser that is known."""

from __future__ import annotations

import pytest

from server.domain.policy.lockout import budgets_for, client_budgets_for, network_of


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
@pytest.mark.spec("B-01")
def test_attempt_from_an_unknown_browser_is_taken_from_four_budgets() -> None:
    budgets = budgets_for("digest", "192.0.2.7", None, 1000)
    assert [(budget.bucket, budget.attempts, budget.seconds, budget.tier) for budget in budgets] == [
        ("network:192.0.2.7", 300, 86400, 0),
        ("account:digest:192.0.2.7", 10, 600, 1),
        ("account:digest", 100, 86400, 2),
        ("everybody", 1000, 60, 2),
    ]


@pytest.mark.spec("B-04")
def test_attempt_from_a_known_browser_is_taken_from_its_own_budget_and_not_from_everybodys() -> None:
    budgets = budgets_for("digest", "192.0.2.7", "a-browser", 1000)
    assert [(budget.bucket, budget.attempts, budget.seconds) for budget in budgets] == [
        ("network:192.0.2.7", 300, 86400),
        ("device:digest:a-browser", 10, 600),
    ]


@pytest.mark.spec("B-06")
def test_network_and_everybody_do_not_forgive_when_a_sign_in_succeeds() -> None:
    every = {*budgets_for("digest", "192.0.2.7", None, 9), *budgets_for("digest", "192.0.2.7", "a-browser", 9)}
    assert {budget.bucket for budget in every if not budget.is_forgiving} == {"network:192.0.2.7", "everybody"}


@pytest.mark.spec("B-07")
def test_failure_of_a_client_is_counted_by_network_alone_so_that_no_stranger_stops_it() -> None:
    budgets = client_budgets_for("digest", "2001:db8:1:2::9")
    assert [(budget.bucket, budget.attempts, budget.seconds) for budget in budgets] == [
        ("client:digest:2001:db8:1:2::/64", 30, 600),
        ("client-network:2001:db8:1:2::/64", 300, 600),
    ]
    assert not any(budget.is_forgiving for budget in budgets)
