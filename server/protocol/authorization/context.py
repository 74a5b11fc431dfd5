"""An authorization request on its way down the table of checks, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from server.domain import scopes
from server.domain.clients import Client
from server.domain.unit_of_work import UnitOfWork
from server.protocol.authorization.claims_request import NO_CLAIMS, ClaimsRequest
from server.protocol.errors import InvalidRequest
from server.protocol.request import Parameters


@dataclass
class AuthorizationContext:
    """One request: what came, and what the checks have found so far."""

    work: UnitOfWork
    parameters: Parameters
    client: Client | None = None
    redirect_uri: str | None = None
    response_type: str = ""
    response_mode: str = "query"
    scope_set: frozenset[str] = frozenset()
    code_challenge: str | None = None
    prompts: frozenset[str] = frozenset()
    max_age: int | None = None
    #: The one person that will do, by the id of their account.
    hint_subject: str | None = None
    acr_values: tuple[str, ...] = ()
    is_acr_essential: bool = False
    claims: ClaimsRequest = NO_CLAIMS

    def as_stored(self) -> dict[str, Any]:
        """What the parked request keeps: checked values only."""
        return {
            "response_type": self.response_type,
            "response_mode": self.response_mode,
            "redirect_uri": self.redirect_uri,
            "state": self.parameters.get("state"),
            "nonce": self.parameters.get("nonce"),
            "scope": scopes.format_scopes(self.scope_set),
            "code_challenge": self.code_challenge,
            "prompt": sorted(self.prompts),
            "max_age": self.max_age,
            "hint_subject": self.hint_subject,
            "login_hint": self.parameters.get("login_hint"),
            "acr_values": list(self.acr_values),
            "is_acr_essential": self.is_acr_essential,
            "claims": self.claims.as_stored(),
            "claims_scopes": sorted(self.claims.scopes),
        }


def proven_client(context: AuthorizationContext) -> Client:
    """The client, which stands first in the table."""
    if context.client is None:
        raise InvalidRequest("client_id is missing.", parameter="client_id")
    return context.client
