"""On whose account something is fetched, so that what one client provokes leaves the others their share."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Purpose: TypeAlias = Literal["keys", "pages"]


class FetchFailed(Exception):
    """The other side did not give what was asked for. The reason is fixed text and tells nothing of the network."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        #: What it answered, if it answered; for logs and for deciding on a retry.
        self.status = status


class FetchPostponed(FetchFailed):
    """The payer has had its share; nothing was asked, and the URL is to blame for nothing."""


@dataclass(frozen=True)
class Payer:
    """Whose fetch it is, and what for.

    Keys are paid for apart: every client needs its own to be known, while request objects and logos are fetched for
    any browser that comes along. Clients that registered themselves pay apart from those of the operator.
    """

    purpose: Purpose = "pages"
    #: None when no client named the URL; then it has no share, only the account.
    client_id: str | None = None
    #: Whether the operator registered the client, or names the URL.
    is_operators: bool = False

    @property
    def account(self) -> tuple[Purpose, bool]:
        """Those who pay together."""
        return self.purpose, self.is_operators

    def shares(self, *, in_all: int, for_client: int) -> Mapping[Hashable, int]:
        """What the account and the client in it may have at most."""
        shares: dict[Hashable, int] = {self.account: in_all}
        if self.client_id is not None:
            shares[self.account, "client", self.client_id] = for_client
        return shares


#: Whoever does not say who they are pays with the strangers.
ANYBODY = Payer()
