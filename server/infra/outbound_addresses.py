"""Where Gatepost lets itself be sent: the syntax of a URL that a client names, and the addresses it may lead to.

The library's own ideas of "global" let 6to4, NAT64 and cloud metadata addresses through, so the networks stand here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from server.config import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAX_CHARACTERS: Final = 2048
#: Scheme, host, port, what is requested, fragment. Whatever does not look exactly like this is refused, so that no two
#: parsers can disagree: user names, backslashes, control and non-ASCII characters, zone ids.
_URL: Final = re.compile(
    r"(https?)://"
    r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})"
    r"(?::([1-9][0-9]{0,4}))?"
    r"((?:/[!$-;=@-\[\]_a-z~]*)?(?:\?[!$-;=?-\[\]_a-z~]*)?)"
    r"(#[!$-;=?-\[\]_a-z~]*)?"
)
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
#: No escapes, no empty or dotted segments, no parameters.
_PLAIN_PATH: Final = re.compile(r"/|(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?")
#: What browsers read as the last part of an IPv4 address: `127.1`, `0x7f000001`, `2130706433`.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

_LOOPBACK: Final[tuple[Network, ...]] = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))
#: The IANA special-purpose registry, multicast, reserved space, and the address under which Azure serves its machines.
_SPECIAL_IPV4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
#: All that is public lies in here; without it fall loopback, mapped IPv4, NAT64, unique local, link-local, multicast.
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
#: Within it: Teredo and other protocols, documentation, 6to4, AS112.
_SPECIAL_IPV6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)


class FetchRefused(Exception):
    """A URL that Gatepost does not fetch from; nothing was sent. The reason is fixed text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Target:
    """A URL taken apart, its host in lower case."""

    scheme: str
    host: str
    port: int
    #: Path and query, as the request line has them.
    resource: str
    #: The address, when the host is one.
    literal: Address | None

    @property
    def authority(self) -> str:
        """The `Host` header: without the port when it is the scheme's own (RFC 9110 §4.2.3)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _default_port(self.scheme) else f"{host}:{self.port}"


def check_fetchable(url: str, settings: Settings, *, allow_fragment: bool = False) -> None:
    """Checks what a URL shows without asking the network, as a client registers it.

    Raises:
        FetchRefused: when no fetch from it could ever be allowed.
    """
    target_of(url, settings, allow_fragment=allow_fragment)


def target_of(url: str, settings: Settings, *, allow_fragment: bool = True) -> Target:
    """The parts of a URL that Gatepost may try to fetch from; a fragment is not sent.

    Raises:
        FetchRefused: when its syntax, scheme, port or host rules it out.
    """
    match = _URL.fullmatch(url) if len(url) <= _MAX_CHARACTERS else None
    if match is None:
        raise FetchRefused("The URL must be https, of plain characters, without user name.")
    scheme, host, port, resource, fragment = match.groups()
    if fragment is not None and not allow_fragment:
        raise FetchRefused("The URL must have no fragment.")
    literal = _literal(host.lower())
    host = host.strip("[]").lower()
    resource = resource if resource.startswith("/") else f"/{resource}"
    target = Target(scheme, host, int(port or _default_port(scheme)), resource, literal)
    _check_place(target, settings)
    return target


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _literal(host: str) -> Address | None:
    """The address that the host is, in its one usual spelling; None when it is a name.

    Raises:
        FetchRefused: when it is neither.
    """
    try:
        return ipaddress.IPv6Address(host[1:-1]) if host.startswith("[") else ipaddress.IPv4Address(host)
    except ValueError:
        labels = host.split(".")
        # A trailing dot, an empty label; and what a resolver would read as an address all the same.
        if not all(_LABEL.fullmatch(label) for label in labels) or _NUMBER.fullmatch(labels[-1]):
            raise FetchRefused("The URL must name a host, or an address in its usual form.") from None
        return None


def _check_place(target: Target, settings: Settings) -> None:
    is_local = target.host == "localhost" or target.host.endswith(".localhost") or _is_loopback(target.literal)
    if settings.outbound_allow_loopback and is_local:
        return
    if target.scheme != "https":
        raise FetchRefused("The URL must be https.")
    if is_local or (target.literal is None and "." not in target.host):
        raise FetchRefused("The URL must name a public host.")
    if target.literal is not None and not is_allowed(target.literal, settings):
        raise FetchRefused("The URL must name a public address.")
    if target.port not in settings.outbound_ports and not settings.outbound_allow_loopback:
        raise FetchRefused("The URL names a port that is not allowed.")
    if _is_own(target, settings):
        raise FetchRefused("The URL must not be one of this server's own.")


def _is_own(target: Target, settings: Settings) -> bool:
    """Whether we would call ourselves, and wait for our own answer.

    Other applications may live on our host when the issuer has a path. There only plain paths count as theirs: what
    servers make of `%61`, `//` and `/../`, and which of them do, differs.
    """
    if not _is_our_host(target, settings):
        return False
    path = target.resource.partition("?")[0]
    return not _PLAIN_PATH.fullmatch(path) or f"{path}/".lower().startswith(f"{settings.issuer_path}/".lower())


def _is_our_host(target: Target, settings: Settings) -> bool:
    """Whether the host is the issuer's, or one of the further ones under which Gatepost answers."""
    issuer = urlsplit(settings.issuer)
    return _is_named(issuer.netloc, target, _default_port(issuer.scheme)) or any(
        _is_named(host, target) for host in settings.allowed_hosts
    )


def _is_named(authority: str, target: Target, default_port: int | None = None) -> bool:
    """Whether `name:port` is where the target is; a name without a port and without a default is at any port."""
    name, _, port = authority.partition(":") if "[" not in authority else authority[1:].partition("]")
    wanted = int(port.lstrip(":")) if port.lstrip(":") else default_port
    if wanted not in {None, target.port}:
        return False
    try:
        return target.literal == ipaddress.ip_address(name)
    except ValueError:
        return target.host == name


def is_allowed(address: Address, settings: Settings, *, is_loopback_only: bool = False) -> bool:
    """Whether Gatepost connects to it: public, in a network that the operator names, or loopback in a test."""
    if settings.outbound_allow_loopback and _is_loopback(address):
        return True
    return not is_loopback_only and (is_public(address) or _is_in(address, settings.outbound_networks))


def _is_in(address: Address, networks: Iterable[str]) -> bool:
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)


def is_public(address: Address) -> bool:
    """Whether the address belongs to the public internet and to nobody's inside."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    is_unicast = address in _GLOBAL_UNICAST and address.scope_id is None
    return is_unicast and not any(address in network for network in _SPECIAL_IPV6)


def _is_loopback(address: Address | None) -> bool:
    return address is not None and any(address in network for network in _LOOPBACK)
