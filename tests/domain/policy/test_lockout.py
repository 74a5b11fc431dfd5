"""Whose budget an attempt is taken from."""

from __future__ import annotations

import pytest

from server.domain.policy.lockout import budgets_for, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("no address", "unknown"),
        (None, "unknown"),
    ],
)
def test_addresses_are_counted_by_network(address: str | None, network: str) -> None:
    assert network_of(address) == network


def test_account_network_and_both_together_are_counted_when_the_browser_is_strange() -> None:
    buckets = [budget.bucket for budget in budgets_for("digest", "192.0.2.7", None)]
    assert buckets == ["account:digest:192.0.2.7", "account:digest", "network:192.0.2.7"]


def test_account_is_not_counted_when_the_person_has_signed_in_on_the_browser_before() -> None:
    buckets = [budget.bucket for budget in budgets_for("digest", "192.0.2.7", "browser")]
    assert buckets == ["device:digest:browser", "network:192.0.2.7"]
