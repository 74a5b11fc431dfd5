"""On which account a client's URLs are fetched."""

from __future__ import annotations

from server.domain.clients import Client
from server.infra.fetch_payer import Payer, Purpose


def payer_of(client: Client, purpose: Purpose) -> Payer:
    """The client's own share of the operator's clients' account, or of that of those who registered themselves."""
    return Payer(purpose, client.id, is_operators=not client.registered_dynamically)
