"""How many attempts may be made, and by whom are they counted? (NIST SP 800-63B-4 §3.2.2)

Four budgets of a sign-in, each of which must have something left: the account from one network, so that guessing is
slow; the account from anywhere, so that many networks together stay slow; the network over all accounts, so that one
guess at each of many accounts is slow too; and everybody together, a brake on what many networks do to many accounts. A
browser that the person has signed in on before has a budget of its own instead, so that nobody can lock somebody else
out by failing on purpose.

Two budgets of a client's authentication, of which only failures are taken: the client from one network, and the network
over all clients. Nothing is counted for a client from everywhere: a stranger could stop it.
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
    #: It is counted only while those of lower tiers have something left: a guess that is not looked at costs no more.
    tier: int = 0

    @property
    def is_forgiving(self) -> bool:
        """Whether a success clears it: one's own account and device forgive, the others only take no offence at it."""
        return self.bucket.startswith(_FORGIVING)


_FORGIVING: Final = ("account:", "device:")
EVERYBODY: Final = "everybody"


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


def budgets_for(
    account: str, ip: str | None, known_browser_id: str | None, everybody_per_minute: int
) -> tuple[Budget, ...]:
    """The budgets that one attempt to sign in is taken from.

    Args:
        account: a digest of the address that was typed, whether or not there is such an account.
        ip: the client's address.
        known_browser_id: the browser, if the account has signed in on it before.
        everybody_per_minute: failures that browsers nobody has signed in on may have together.
    """
    network = network_of(ip)
    by_network = Budget(f"network:{network}", 300, _DAY)
    if known_browser_id is not None:
        return (by_network, Budget(f"device:{account}:{known_browser_id}", 10, 10 * _MINUTE, tier=1))
    return (
        by_network,
        Budget(f"account:{account}:{network}", 10, 10 * _MINUTE, tier=1),
        # One network alone uses neither of these up.
        Budget(f"account:{account}", 100, _DAY, tier=2),
        Budget(EVERYBODY, everybody_per_minute, _MINUTE, tier=2),
    )


def client_budgets_for(client_id: str, ip: str | None) -> tuple[Budget, Budget]:
    """The budgets that one failed authentication of a client is taken from: the client's, and the network's.

    Args:
        client_id: a digest of the id that was presented, whether or not there is such a client.
        ip: the caller's address.
    """
    network = network_of(ip)
    return (
        Budget(f"client:{client_id}:{network}", 30, 10 * _MINUTE),
        Budget(f"client-network:{network}", 300, 10 * _MINUTE),
    )
