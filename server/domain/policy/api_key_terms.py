"""What may be asked of an API key? Its kinds, its name, where it may be used from, and how long it lives."""

from __future__ import annotations

import ipaddress
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from server.domain.errors import Invalid
from server.domain.policy.environments import Environment
from server.domain.policy.role_permissions import MANAGEMENT_NAMES
from server.domain.policy.scope_grammar import is_pattern

KeyKind = Literal["standard", "restricted", "scim"]
KINDS: Final[tuple[KeyKind, ...]] = ("standard", "restricted", "scim")
#: The one permission of a key for SCIM, and nobody else's.
SCIM: Final = "scim"
#: What whoever makes a key for SCIM must have: with it people are added, changed and removed.
SCIM_NEEDS: Final = ("users:read", "users:write", "users:delete")
MAXIMUM_NAME: Final = 100
MAXIMUM_DESCRIPTION: Final = 500
MAXIMUM_PERMISSIONS: Final = 100
MAXIMUM_NETWORKS: Final = 100
MAXIMUM_RATE: Final = 1_000_000
_UNFIT: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def prefix_of(prefixes: Mapping[str, str], kind: KeyKind, environment: Environment) -> str:
    """What a key of this kind and environment begins with."""
    if kind == "standard":
        return prefixes[environment]
    return prefixes[kind if environment == "live" else f"{kind}_test"]


def check_text(field: str, text: str, maximum: int, minimum: int = 0) -> str:
    """The text without space around it.

    Raises:
        Invalid: when it is too long, too short, or cannot stand on one line.
    """
    text = text.strip()
    if not minimum <= len(text) <= maximum or any(unicodedata.category(each) in _UNFIT for each in text):
        raise Invalid(field, f"A {field} has {minimum} to {maximum} printable characters.")
    return text


def check_permissions(kind: KeyKind, permissions: Iterable[str]) -> list[str]:
    """The permissions, each once and in order.

    Raises:
        Invalid: when there are none, too many, or some that a key of this kind cannot have.
    """
    wanted = sorted(set(permissions))
    if kind == "scim":
        if wanted != [SCIM]:
            raise Invalid("permissions", f"A key for SCIM has the permission {SCIM} and no other.")
        return wanted
    if not 0 < len(wanted) <= MAXIMUM_PERMISSIONS:
        raise Invalid("permissions", f"Give the key 1 to {MAXIMUM_PERMISSIONS} permissions.")
    for permission in wanted:
        if permission == SCIM:
            raise Invalid("permissions", "The permission scim is for keys of the kind scim.")
        if kind == "restricted" and not _is_for_restricted(permission):
            raise Invalid(
                "permissions",
                f"A restricted key has permissions named one by one, and changes nothing here; {permission} does not "
                "fit.",
            )
    return wanted


def _is_for_restricted(permission: str) -> bool:
    changes = permission in MANAGEMENT_NAMES and not permission.endswith(":read")
    return not is_pattern(permission) and not changes


def check_networks(networks: Sequence[str]) -> list[str]:
    """The networks of an allow-list, each once, as they are usually written; an empty list allows every address.

    Raises:
        Invalid: when one is none, or there are too many.
    """
    if len(networks) > MAXIMUM_NETWORKS:
        raise Invalid("ip_allow_list", f"An allow-list has at most {MAXIMUM_NETWORKS} networks.")
    return list(dict.fromkeys(_written(_network(text.strip())) for text in networks))


def _written(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    return str(network if network.num_addresses > 1 else network.network_address)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        # A zone names an interface of whoever wrote it, which is not ours.
        network = ipaddress.ip_network(text.replace("%", " "), strict=False)
    except ValueError as error:
        raise Invalid("ip_allow_list", "Give addresses or networks such as 203.0.113.7 or 2001:db8::/32.") from error
    address = ipaddress.ip_address(text.partition("/")[0])
    if network.num_addresses > 1 and address != network.network_address:
        raise Invalid("ip_allow_list", f"{text} is an address inside a network: write {network} or {address}.")
    if isinstance(network, ipaddress.IPv6Network):
        # A peer on a socket for both kinds of address is seen as IPv4, however it is written here.
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            return ipaddress.ip_network((str(mapped), network.prefixlen - 96))
    return network


def is_allowed_from(networks: Sequence[str], ip: str | None) -> bool:
    """Whether the allow-list allows the address; where there is a list, an unknown address is not allowed."""
    if not networks:
        return True
    try:
        address = ipaddress.ip_address(ip or "")
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        # A zone says by which interface a packet came and is no part of the address.
        if address.scope_id is not None:
            return False
        address = address.ipv4_mapped or address
    return any(address in ipaddress.ip_network(network) for network in networks)


def is_within_networks(networks: Sequence[str], bounds: Sequence[str]) -> bool:
    """Whether whoever may come from `networks` comes from within `bounds`; an empty list is every address."""
    if not bounds:
        return True
    around = [each for version in (4, 6) for each in ipaddress.collapse_addresses(_of_version(version, bounds))]
    return bool(networks) and all(
        any(network.version == each.version and network.subnet_of(each) for each in around)
        for network in map(ipaddress.ip_network, networks)
    )


def _of_version(version: int, networks: Sequence[str]) -> list[Any]:
    return [network for network in map(ipaddress.ip_network, networks) if network.version == version]


def is_within_rate(rate: int | None, bound: int | None) -> bool:
    """Whether this many requests in a minute are no more than those; None is any number."""
    return bound is None or (rate is not None and rate <= bound)


def check_rate(rate: int | None) -> int | None:
    """The requests in a minute, or None for the deployment's own limit.

    Raises:
        Invalid: when it is no such number.
    """
    if rate is not None and not 1 <= rate <= MAXIMUM_RATE:
        raise Invalid("rate_limit_per_minute", f"A rate limit is 1 to {MAXIMUM_RATE} requests in a minute.")
    return rate


def end_of(now: datetime, wanted: datetime | None, lifetime: int, *, never: bool) -> datetime | None:
    """When a key ends: as its maker says, or after the usual lifetime in seconds; None for never.

    Raises:
        Invalid: when the maker says two things, or that it ends before it begins.
    """
    if never and wanted is not None:
        raise Invalid("expires_at", "A key ends at some time or never, not both.")
    if wanted is not None and wanted <= now:
        raise Invalid("expires_at", "A key must end in the future.")
    return None if never else wanted or now + timedelta(seconds=lifetime)
