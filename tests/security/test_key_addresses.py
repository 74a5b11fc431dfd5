"""A key's allow-list is held against the address that the last trusted proxy saw, however it is written (K-09)."""

from __future__ import annotations

import pytest

from tests.support.deployment import GatepostMaker
from tests.support.gateway import API_SCOPES, Gateway

PROXY = "10.0.0.9"


@pytest.fixture
def gateway(make_gatepost: GatepostMaker) -> Gateway:
    return Gateway(make_gatepost(scopes=API_SCOPES, trusted_proxies=("10.0.0.0/8", "fd00::/8")))


def passes(gateway: Gateway, key: str, peer: str | None, forwarded: str | None = None, **headers: str) -> bool:
    if forwarded is not None:
        headers["X-Forwarded-For"] = forwarded
    # What an allow-list forbids is answered as what does not exist.
    status = gateway.ask(key, headers=headers, environ_overrides={"REMOTE_ADDR": peer}).status_code
    assert status in {200, 401}
    return status == 200


@pytest.mark.parametrize(
    ("network", "address", "expected"),
    [
        ("192.0.2.0/24", "192.0.2.0", True),
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.1.255", False),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.6", False),
        ("192.0.2.7", "192.0.2.8", False),
        ("192.0.2.4/31", "192.0.2.5", True),
        ("192.0.2.4/31", "192.0.2.6", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", False),
        ("2001:db8::/32", "2001:db9::", False),
        ("2001:db8::1", "2001:0DB8:0000:0000:0000:0000:0000:0001", True),
        ("2001:db8::1", "2001:db8::1:0", False),
        ("2001:DB8:0:0::1", "2001:db8::1", True),
        ("192.0.2.0/24", "::ffff:192.0.2.7", True),
        ("192.0.2.0/24", "::ffff:c000:207", True),
        ("192.0.2.0/24", "::ffff:192.0.3.7", False),
        ("192.0.2.0/24", "::192.0.2.7", False),
        ("192.0.2.0/24", "64:ff9b::192.0.2.7", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::/0", "192.0.2.7", False),
        ("0.0.0.0/0", "192.0.2.7", True),
        ("::/0", "2001:db8::1", True),
    ],
)
@pytest.mark.spec("K-09")
def test_address_is_held_against_the_list_however_it_is_written(
    gateway: Gateway, network: str, address: str, expected: bool
) -> None:
    _, key = gateway.key(ip_allow_list=(network,))
    assert passes(gateway, key, address) is expected
    assert passes(gateway, key, PROXY, address) is expected


@pytest.mark.parametrize("written", ["192.0.2.7:4711", "[2001:db8::1]", "[2001:db8::1]:443"])
@pytest.mark.spec("K-09")
def test_port_behind_the_address_changes_nothing(gateway: Gateway, written: str) -> None:
    _, key = gateway.key(ip_allow_list=("192.0.2.7", "2001:db8::1"))
    assert passes(gateway, key, PROXY, written)


@pytest.mark.parametrize(
    "forwarded",
    [
        "192.0.2.7",
        "192.0.2.7, 198.51.100.1",
        "192.0.2.7, 192.0.2.7, 198.51.100.1",
        "192.0.2.7,198.51.100.1, 10.1.1.1",
        "unknown, 198.51.100.1",
    ],
)
@pytest.mark.spec("K-09")
def test_forged_address_opens_nothing(gateway: Gateway, forwarded: str) -> None:
    _, key = gateway.key(ip_allow_list=("192.0.2.0/24",))
    # From somebody who is no proxy of ours.
    assert not passes(gateway, key, "198.51.100.1", forwarded)
    # Appended to by a proxy, the last word is the proxy's.
    if "," in forwarded:
        assert not passes(gateway, key, PROXY, forwarded)


@pytest.mark.spec("K-09")
def test_other_headers_are_not_believed(gateway: Gateway) -> None:
    _, key = gateway.key(ip_allow_list=("192.0.2.0/24",))
    for name in ("X-Real-IP", "X-Client-IP", "CF-Connecting-IP", "True-Client-IP", "X-Envoy-External-Address"):
        assert not passes(gateway, key, PROXY, **{name: "192.0.2.7"})
    assert not passes(gateway, key, PROXY, Forwarded="for=192.0.2.7")


@pytest.mark.parametrize("peer", [None, "", "unix:", "unknown", "192.0.2.7x", "fe80::1%eth0"])
@pytest.mark.spec("K-09")
def test_key_with_a_list_is_refused_when_nobody_knows_the_address(gateway: Gateway, peer: str | None) -> None:
    _, listed = gateway.key(ip_allow_list=("0.0.0.0/0", "::/0"))
    _, open_to_all = gateway.key()
    assert not passes(gateway, listed, peer)
    assert passes(gateway, open_to_all, peer)


@pytest.mark.parametrize("forwarded", ["unknown", "", "x", "192.0.2.7;", "fe80::1%eth0", "\xff"])
@pytest.mark.spec("K-09")
def test_key_with_a_list_is_refused_when_the_proxy_names_no_address(gateway: Gateway, forwarded: str) -> None:
    _, key = gateway.key(ip_allow_list=("192.0.2.0/24",))
    assert not passes(gateway, key, PROXY, forwarded)


@pytest.mark.spec("K-09")
def test_key_without_a_list_is_good_from_anywhere_and_a_change_counts_at_once(gateway: Gateway) -> None:
    row, key = gateway.key()
    assert passes(gateway, key, "198.51.100.1")
    gateway.change(row.id, ip_allow_list=("192.0.2.0/24",))
    assert not passes(gateway, key, "198.51.100.1")
    assert passes(gateway, key, "192.0.2.1")
    gateway.change(row.id, ip_allow_list=())
    assert passes(gateway, key, "198.51.100.1")


@pytest.mark.spec("K-09")
def test_refusal_for_the_address_leaves_a_row(gateway: Gateway) -> None:
    row, key = gateway.key(ip_allow_list=("192.0.2.0/24",))
    assert not passes(gateway, key, "198.51.100.1")
    gateway.flush_usage()
    (found,) = gateway.gatepost.audit_rows("api_key.refused")
    assert found.details["reason"] == "address_not_allowed"
    assert found.details["key_id"] == row.id
    assert found.ip == "198.51.100.1"
