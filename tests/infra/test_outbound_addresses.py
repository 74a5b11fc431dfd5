"""Where a client's URL may lead: what its text rules out, and which addresses are nobody's inside."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

import pytest

from server.config import Settings
from server.infra.outbound_addresses import FetchRefused, check_fetchable, is_allowed, is_public, target_of
from tests.security.ssrf_corpus import INNER_ADDRESSES, ODD_ADDRESSES

PUBLIC_ADDRESSES = (
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "99.255.255.255",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80f::200e",
)


def settings_of(**values: Any) -> Settings:
    return Settings(_env_file=None, issuer="https://login.example.com", **values)


SETTINGS = settings_of()


# ------------------------------------------------------------------------------------------------------------ addresses


@pytest.mark.spec("F-01")
@pytest.mark.parametrize("address", INNER_ADDRESSES)
def test_address_is_not_public_when_it_is_somebodys_inside(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    assert not is_allowed(ipaddress.ip_address(address), SETTINGS)


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_address_is_public_when_anybody_can_reach_it(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
    assert is_allowed(ipaddress.ip_address(address), SETTINGS)


@pytest.mark.spec("F-01")
def test_no_address_is_public_that_the_library_calls_private() -> None:
    for first in range(256):
        for second in range(0, 256, 3):
            address = ipaddress.IPv4Address(f"{first}.{second}.7.9")
            assert not is_public(address) or address.is_global, address
            mapped = ipaddress.IPv6Address(f"::ffff:{address}")
            assert not is_public(mapped), mapped


def test_address_with_a_zone_is_not_public() -> None:
    assert not is_public(ipaddress.ip_address("2606:4700:4700::1111%eth0"))


def test_inner_network_is_allowed_when_the_operator_names_it() -> None:
    settings = settings_of(outbound_networks=("10.1.0.0/16", "fd00:1::/32"))
    allowed = [is_allowed(ipaddress.ip_address(name), settings) for name in ("10.1.2.3", "fd00:1::5", "1.1.1.1")]
    refused = [is_allowed(ipaddress.ip_address(name), settings) for name in ("10.2.0.1", "fd00:2::5", "127.0.0.1")]
    assert (allowed, refused) == ([True] * 3, [False] * 3)
    check_fetchable("https://10.1.2.3/jwks", settings)


def test_loopback_is_allowed_when_a_test_says_so_and_nothing_else_of_the_inside() -> None:
    settings = settings_of(outbound_allow_loopback=True)
    for address in INNER_ADDRESSES:
        is_loopback = address in {"127.0.0.1", "127.255.255.254", "::1"}
        assert is_allowed(ipaddress.ip_address(address), settings) is is_loopback, address
    assert is_allowed(ipaddress.ip_address("127.0.0.1"), settings, is_loopback_only=True)
    assert not is_allowed(ipaddress.ip_address("1.1.1.1"), settings, is_loopback_only=True)


# ----------------------------------------------------------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    ("url", "host", "port", "resource", "authority"),
    [
        ("https://app.example.com", "app.example.com", 443, "/", "app.example.com"),
        ("https://app.example.com/", "app.example.com", 443, "/", "app.example.com"),
        ("https://app.example.com?a=b", "app.example.com", 443, "/?a=b", "app.example.com"),
        ("https://APP.Example.com:443/x", "app.example.com", 443, "/x", "app.example.com"),
        ("https://app.example.com:8443/a/b?c=d&e=/?:@", "app.example.com", 8443, "/a/b?c=d&e=/?:@", None),
        ("https://xn--bcher-kva.example/jwks", "xn--bcher-kva.example", 443, "/jwks", "xn--bcher-kva.example"),
        ("https://a_b.example.com/%2e%2e/", "a_b.example.com", 443, "/%2e%2e/", "a_b.example.com"),
        ("https://93.184.215.14/x", "93.184.215.14", 443, "/x", "93.184.215.14"),
        ("https://[2606:4700::1111]/x", "2606:4700::1111", 443, "/x", "[2606:4700::1111]"),
        ("https://[2606:4700::1111]:8443/x", "2606:4700::1111", 8443, "/x", "[2606:4700::1111]:8443"),
        ("https://app.example.com/a;b=c,d!$'()*+~", "app.example.com", 443, "/a;b=c,d!$'()*+~", "app.example.com"),
    ],
)
def test_url_is_taken_apart_as_other_parsers_do_it_when_it_is_fetchable(
    url: str, host: str, port: int, resource: str, authority: str | None
) -> None:
    check_fetchable(url, SETTINGS)
    target = target_of(url, SETTINGS)
    assert (target.host, target.port, target.resource) == (host, port, resource)
    assert target.authority == (authority or f"{host}:{port}")
    assert urlsplit(url).hostname == host
    assert (urlsplit(url).port or 443) == port


@pytest.mark.spec("F-01")
@pytest.mark.parametrize("address", INNER_ADDRESSES)
def test_url_is_refused_when_it_names_an_inner_address(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    for url in (f"https://{host}/x", f"https://{host}:8443/x", f"https://{host.upper()}/x"):
        with pytest.raises(FetchRefused):
            check_fetchable(url, SETTINGS)


@pytest.mark.spec("F-01")
@pytest.mark.parametrize("host", ODD_ADDRESSES)
@pytest.mark.parametrize("is_test", [False, True])
def test_url_is_refused_when_it_writes_an_address_in_an_odd_way(host: str, is_test: bool) -> None:
    with pytest.raises(FetchRefused):
        check_fetchable(f"https://{host}/x", settings_of(outbound_allow_loopback=is_test))


@pytest.mark.spec("F-01")
@pytest.mark.parametrize(
    "url",
    [
        "",
        "https",
        "https:",
        "https://",
        "https:///x",
        "https:/app.example.com/",
        "https:app.example.com",
        "//app.example.com/",
        "http://app.example.com/",
        "HTTPS://app.example.com/",
        "ftp://app.example.com/",
        "file:///etc/passwd",
        "gopher://app.example.com/",
        "dict://app.example.com/",
        "data:application/json,{}",
        "javascript:alert(1)",
        "urn:ietf:params:oauth:request_uri:x",
        "https://user@app.example.com/",
        "https://user:password@app.example.com/",
        "https://app.example.com@127.0.0.1/",
        "https://app.example.com:443@127.0.0.1/",
        "https://127.0.0.1#@app.example.com/",
        "https://127.0.0.1?@app.example.com/",
        "https://app.example.com\\@127.0.0.1/",
        "https://127.0.0.1\\.app.example.com/",
        "https:\\\\app.example.com/",
        "https://app.example.com./",
        "https://app..example.com/",
        "https://.example.com/",
        "https://-app.example.com/",
        "https://app-.example.com/",
        f"https://{'a' * 64}.example.com/",
        f"https://{'a.' * 130}com/",
        "https://app/",
        "https://localhost/",
        "https://LOCALHOST/",
        "https://app.localhost/",
        "https://app.example.com:0/",
        "https://app.example.com:00443/",
        "https://app.example.com:65536/",
        "https://app.example.com:/",
        "https://app.example.com:443x/",
        "https://app.example.com:22/",
        "https://app.example.com:25/",
        "https://app.example.com:80/",
        "https://app.example.com:6379/",
        "https://app.example.com/ x",
        " https://app.example.com/",
        "https://app.example.com/\n",
        "https://app.example.com/\r\nX: y",
        "https://app.example.com/\t",
        "https://app.example.com/\x00",
        "https://app.example.com/é",
        "https://bücher.example/",
        "https://app.example.com/\ud800",
        'https://app.example.com/"',
        "https://app.example.com/<x>",
        "https://app.example.com/`",
        "https://app.example.com/{x}",
        "https://app.example.com/^",
        "https://app.example.com/|",
        "https://app%2eexample.com/",
        "https://app.example.com%00.evil.example/",
        "https://app.example.com,evil.example/",
        "https://app.example.com/#fragment",
        "https://app.example.com/" + "x" * 2100,
    ],
    ids=lambda url: ascii(url[:48]),
)
def test_url_is_refused_when_registered(url: str) -> None:
    with pytest.raises(FetchRefused) as caught:
        check_fetchable(url, SETTINGS)
    assert url[8:] == "" or url[8:] not in caught.value.reason


@pytest.mark.spec("RFC 9101 §10.4")
def test_fragment_is_allowed_for_a_request_uri_alone_and_never_sent() -> None:
    url = "https://app.example.com/request.jwt?x#GkurKxf5T0Y-mnPFCHqWOMiZi4VS138cQO_V7PZHAdM"
    check_fetchable(url, SETTINGS, allow_fragment=True)
    assert target_of(url, SETTINGS).resource == "/request.jwt?x"
    with pytest.raises(FetchRefused, match="no fragment"):
        check_fetchable(url, SETTINGS)


def test_port_is_allowed_when_the_operator_names_it() -> None:
    check_fetchable("https://app.example.com:9443/", settings_of(outbound_ports=(443, 9443)))
    with pytest.raises(FetchRefused, match="port"):
        check_fetchable("https://app.example.com:8443/", settings_of(outbound_ports=(443, 9443)))


@pytest.mark.spec("F-01")
def test_own_url_is_refused_and_other_applications_of_the_host_are_not() -> None:
    for url in ("https://login.example.com/jwks", "https://LOGIN.example.com:443", "https://login.example.com/?x"):
        with pytest.raises(FetchRefused, match="own"):
            check_fetchable(url, SETTINGS)
    under_a_path = Settings(_env_file=None, issuer="https://example.com/auth")
    with pytest.raises(FetchRefused, match="own"):
        check_fetchable("https://example.com/auth/jwks", under_a_path)
    for path in ("/app/jwks", "/authority", "/app/", "/a-b/c_d~e/f.json?x=%61/../y", "", "/", "?/auth/x"):
        check_fetchable(f"https://example.com{path}", under_a_path)
    check_fetchable("https://example.com:8443/auth/jwks", under_a_path)


@pytest.mark.spec("F-01")
@pytest.mark.parametrize(
    "path",
    [
        "/auth",
        "/auth?x",
        "/auth/",
        "/AUTH/jwks",
        "/%61uth/jwks",
        "/%2561uth/jwks",
        "/auth%2fjwks",
        "//auth/jwks",
        "/app//auth/jwks",
        "/./auth/jwks",
        "/app/../auth/jwks",
        "/app/%2e%2e/auth/jwks",
        "/app;x/../auth/jwks",
        "/auth;x/jwks",
        "/.well-known/oauth-authorization-server/auth",
    ],
)
def test_own_url_is_refused_however_it_is_spelled(path: str) -> None:
    under_a_path = Settings(_env_file=None, issuer="https://example.com/auth", allowed_hosts=("inside.example.com",))
    for host in ("example.com", "EXAMPLE.com:443", "inside.example.com:8443"):
        with pytest.raises(FetchRefused, match="own"):
            check_fetchable(f"https://{host}{path}", under_a_path)


@pytest.mark.spec("F-01")
def test_own_url_is_refused_under_every_host_that_is_allowed() -> None:
    hosts = ("inside.example.com", "other.example.com:8443", "93.184.215.14", "[2606:4700:0::1111]:8443", "x.net:99999")
    settings = settings_of(allowed_hosts=hosts)
    for host in (
        "inside.example.com",
        "INSIDE.example.com:8443",
        "other.example.com:8443",
        "93.184.215.14:8443",
        "[2606:4700::1111]:8443",
    ):
        with pytest.raises(FetchRefused, match="own"):
            check_fetchable(f"https://{host}/jwks", settings)
    for host in ("other.example.com", "[2606:4700::1111]", "93.184.215.15", "example.com", "x.net:8443"):
        check_fetchable(f"https://{host}/jwks", settings)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:9000/x",
        "https://localhost/x",
        "http://127.0.0.1:1/x",
        "http://[::1]:9/x",
        "http://a.localhost",
    ],
)
def test_loopback_url_is_fetchable_only_when_a_test_says_so(url: str) -> None:
    check_fetchable(url, settings_of(outbound_allow_loopback=True))
    with pytest.raises(FetchRefused):
        check_fetchable(url, SETTINGS)


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example.com/",
        "http://10.0.0.1/",
        "https://10.0.0.1/",
        "https://app/",
        "http://localhost.example.com/",
    ],
)
def test_url_of_elsewhere_is_judged_as_ever_when_a_test_allows_loopback(url: str) -> None:
    with pytest.raises(FetchRefused):
        check_fetchable(url, settings_of(outbound_allow_loopback=True))
    check_fetchable("https://localhost.emobix.co.uk:8443/", settings_of(outbound_allow_loopback=True))
