"""What may be asked of an API key: its allow-list to the edge of each network, and all the ways to write an address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from server.domain.errors import Invalid
from server.domain.policy.api_key_terms import (
    KINDS,
    check_networks,
    check_permissions,
    end_of,
    is_allowed_from,
    is_within_networks,
    is_within_rate,
    prefix_of,
)
from server.domain.policy.environments import ENVIRONMENTS

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.spec("K-09")
@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        (["203.0.113.0/24"], ["203.0.113.0", "203.0.113.255"], ["203.0.112.255", "203.0.114.0"]),
        (["203.0.113.7"], ["203.0.113.7", "::ffff:203.0.113.7", "::ffff:cb00:7107"], ["203.0.113.6", "203.0.113.8"]),
        (["::ffff:203.0.113.0/120"], ["203.0.113.9"], ["203.0.114.0"]),
        (["203.0.113.6/31"], ["203.0.113.6", "203.0.113.7"], ["203.0.113.5", "203.0.113.8"]),
        (
            ["2001:db8::/32"],
            ["2001:db8::", "2001:DB8:0:0:0:0:0:1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
            ["2001:db7:ffff::", "2001:db9::", "203.0.113.7"],
        ),
        (["2001:db8::1"], ["2001:db8:0:0::1", "2001:0db8::0001"], ["2001:db8::2", "2001:db8::1%eth0"]),
        (["192.0.2.1", "2001:db8::/48"], ["192.0.2.1", "2001:db8::5"], ["192.0.2.2"]),
        (["0.0.0.0/0"], ["198.51.100.1"], ["2001:db8::1"]),
        (["::/0"], ["2001:db8::1"], ["198.51.100.1"]),
    ],
)
def test_address_is_allowed_inside_the_networks_alone(
    networks: list[str], inside: list[str], outside: list[str]
) -> None:
    checked = check_networks(networks)
    assert [address for address in inside if not is_allowed_from(checked, address)] == []
    assert [address for address in outside if is_allowed_from(checked, address)] == []


@pytest.mark.spec("K-09")
@pytest.mark.parametrize(
    "address", [None, "", "unix:", "203.0.113.7, 203.0.113.7", "203.0.113.07", "3405803783", "0xcb007107"]
)
def test_address_is_not_allowed_when_it_is_none_that_we_know(address: str | None) -> None:
    assert not is_allowed_from(["203.0.113.7", "0.0.0.0/0"], address)
    assert is_allowed_from([], address)


@pytest.mark.parametrize(
    "network", ["", "localhost", "203.0.113.7/33", "203.0.113", "*", "2001:db8::/129", "2001:db8::1%eth0", "1.2.3.4 5"]
)
def test_network_is_refused_when_it_is_none(network: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_networks([network])
    assert caught.value.field == "ip_allow_list"


def test_network_is_refused_with_both_ways_to_mend_it_when_it_is_ambiguous() -> None:
    with pytest.raises(Invalid, match=r"write 203\.0\.113\.0/24 or 203\.0\.113\.7"):
        check_networks(["203.0.113.7/24"])


def test_networks_are_written_as_usual_and_once() -> None:
    assert check_networks([" 203.0.113.7/32", "203.0.113.7", "2001:DB8:0::/32", "::ffff:192.0.2.0/120"]) == [
        "203.0.113.7",
        "2001:db8::/32",
        "192.0.2.0/24",
    ]


def test_permissions_are_kept_once_and_in_order() -> None:
    assert check_permissions("standard", ["b:write", "a:read", "b:write"]) == ["a:read", "b:write"]
    with pytest.raises(Invalid):
        check_permissions("standard", [f"a:{number}" for number in range(101)])


def test_every_kind_has_a_prefix_in_both_environments() -> None:
    prefixes = {name: f"{name}_" for name in ("live", "test", "restricted", "restricted_test", "scim", "scim_test")}
    found = {prefix_of(prefixes, kind, environment) for kind in KINDS for environment in ENVIRONMENTS}
    assert found == set(prefixes.values())


def test_key_ends_when_said_or_after_the_usual_time() -> None:
    assert end_of(NOW, None, 60, never=False) == NOW + timedelta(seconds=60)
    assert end_of(NOW, None, 60, never=True) is None
    assert end_of(NOW, NOW + timedelta(seconds=1), 60, never=False) == NOW + timedelta(seconds=1)


@pytest.mark.spec("K-09", "K-11")
@pytest.mark.parametrize(
    ("networks", "bounds", "is_within"),
    [
        ([], [], True),
        (["192.0.2.7"], [], True),
        ([], ["192.0.2.7"], False),
        (["192.0.2.7"], ["192.0.2.7"], True),
        (["192.0.2.7"], ["192.0.2.0/24"], True),
        (["192.0.2.0/24"], ["192.0.2.7"], False),
        (["192.0.2.7", "198.51.100.1"], ["192.0.2.0/24"], False),
        (["192.0.2.0/24"], ["192.0.2.0/25", "192.0.2.128/25"], True),
        (["192.0.2.0/24"], ["192.0.2.0/25", "192.0.2.128/26"], False),
        (["2001:db8::1"], ["2001:db8::/32", "192.0.2.7"], True),
        (["192.0.2.7"], ["2001:db8::/32", "::/0"], False),
        (["::/0"], ["0.0.0.0/0"], False),
    ],
)
def test_networks_are_within_others_when_every_address_is(
    networks: list[str], bounds: list[str], is_within: bool
) -> None:
    assert is_within_networks(networks, bounds) is is_within


@pytest.mark.spec("K-11", "K-15")
@pytest.mark.parametrize(
    ("rate", "bound", "is_within"),
    [(None, None, True), (7, None, True), (None, 7, False), (7, 7, True), (6, 7, True), (8, 7, False)],
)
def test_rate_is_within_another_when_it_is_no_higher(rate: int | None, bound: int | None, is_within: bool) -> None:
    assert is_within_rate(rate, bound) is is_within
