"""Whose request it is: the peer's address, or what a trusted proxy says about it, in the audit row."""

import pytest

from tests.support.deployment import GatepostMaker
from tests.support.flow import basic


def audited_ip(make_gatepost: GatepostMaker, proxies: str, peer: str, forwarded: str | None) -> str | None:
    """The address in the audit row of a refused request."""
    gatepost = make_gatepost(trusted_proxies=proxies)
    headers = basic("nobody", "cs_x") | ({"X-Forwarded-For": forwarded} if forwarded is not None else {})
    response = gatepost.browser().post(
        "/oauth/token",
        data={"grant_type": "refresh_token"},
        headers=headers,
        environ_overrides={"REMOTE_ADDR": peer},
    )
    assert response.status_code == 401
    return gatepost.audit_rows()[-1].ip


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "ip"),
    [
        ("", "203.0.113.9", None, "203.0.113.9"),
        ("", "203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("", "127.0.0.1", "198.51.100.1", "127.0.0.1"),
        ("10.0.0.0/8", "203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.0/8", "10.1.2.3", None, "10.1.2.3"),
        ("10.0.0.0/8", "10.1.2.3", "198.51.100.1", "198.51.100.1"),
        # What the client itself wrote stands further left and is not believed.
        ("10.0.0.0/8", "10.1.2.3", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.0/8", "10.1.2.3", "6.6.6.6, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("10.0.0.0/8, 192.0.2.7", "192.0.2.7", "6.6.6.6, 198.51.100.1 ,10.9.9.9", "198.51.100.1"),
        ("10.0.0.0/8", "10.1.2.3", "10.9.9.9", "10.9.9.9"),
        # What the proxy tells is no address: it is not the proxy's own either.
        ("10.0.0.0/8", "10.1.2.3", "garbage", None),
        ("10.0.0.0/8", "10.1.2.3", "198.51.100.1, garbage", None),
        ("10.0.0.0/8", "10.1.2.3", "", "10.1.2.3"),
        ("10.0.0.0/8", "10.1.2.3", " , ,", "10.1.2.3"),
        ("10.0.0.0/8", "10.1.2.3", "198.51.100.1:1234", "198.51.100.1"),
        ("::1", "::1", "2001:db8::1", "2001:db8::1"),
        ("::1", "::1", "[2001:db8::1]:443", "2001:db8::1"),
        ("::1", "::1", "fe80::1%eth0", None),
        ("::1", "::1", "2001:DB8:0::1", "2001:db8::1"),
        ("10.0.0.0/8", "10.1.2.3", "<script>", None),
    ],
)
@pytest.mark.spec("H-03")
def test_address_is_the_nearest_that_is_no_trusted_proxy_when_audited(
    make_gatepost: GatepostMaker, proxies: str, peer: str, forwarded: str | None, ip: str | None
) -> None:
    assert audited_ip(make_gatepost, proxies, peer, forwarded) == ip


def test_other_headers_are_never_believed_when_they_name_an_address(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(trusted_proxies="127.0.0.1")
    for name in ("X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP"):
        headers = {**basic("nobody", "cs_x"), name: "198.51.100.1"}
        gatepost.browser().post("/oauth/token", data={"grant_type": "refresh_token"}, headers=headers)
        assert gatepost.audit_rows()[-1].ip == "127.0.0.1", name


def test_user_agent_is_kept_short_when_audited(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost()
    browser = gatepost.browser()
    for agent, kept in (("Agent/1.0", "Agent/1.0"), ("x" * 5000, "x" * 300), ("", None)):
        browser.post(
            "/oauth/token",
            data={"grant_type": "refresh_token"},
            headers={**basic("nobody", "cs_x"), "User-Agent": agent},
        )
        assert gatepost.audit_rows()[-1].user_agent == kept


def test_address_is_absent_when_the_server_does_not_know_it(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost()
    gatepost.browser().post(
        "/oauth/token",
        data={"grant_type": "refresh_token"},
        headers=basic("nobody", "cs_x"),
        environ_overrides={"REMOTE_ADDR": None},
    )
    assert gatepost.audit_rows()[-1].ip is None
