"""How many sign-in attempts may be made, and by whom are they counted? (NIST SP 800-63B-4 §3.2.2)

Three budgets, each of which must have something left: the account from one network, so that guessing is slow; the
account from anywhere, so that many networks together stay slow; the network over all accounts, so that one guess at
each of many accounts is slow too. A browser that the person has signed in on before has a budget of its own, so that
nobody can lock somebody else out by failing on purpose.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

_MINUTE, _DAY = 60, 86400


@dataclass(frozen=True)
class Budget:
    """So many attempts in so many seconds, counted under `bucket`."""

    bucket: str
    attempts: int
    seconds: int


#: What a success clears: a person's own account and device forgive, a network only takes no offence at the success.
FORGIVING: Final = ("account:", "device:")


def network_of(ip: str | None) -> str:
    """The network that an address is counted under: itself for IPv4, its /64 for IPv6, where one client has many."""
    try:
        address = ipaddress.ip_address(ip or "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def budgets_for(account: str, ip: str | None, known_browser_id: str | None) -> tuple[Budget, ...]:
    """The budgets that one attempt is taken from.

    Args:
        account: a digest of the address that was typed, whether or not there is such an account.
        ip: the client's address.
        known_browser_id: the browser, if the account has signed in on it before.
    """
    network = network_of(ip)
    by_network = Budget(f"network:{network}", 300, _DAY)
    if known_browser_id is not None:
        return (Budget(f"device:{account}:{known_browser_id}", 10, 10 * _MINUTE), by_network)
    return (
        Budget(f"account:{account}:{network}", 10, 10 * _MINUTE),
        Budget(f"account:{account}", 100, _DAY),
        by_network,
    )
