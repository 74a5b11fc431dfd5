"""Clients that make tokens of their own, and one that asks about tokens of all kinds."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Any

from werkzeug.test import TestResponse

from server.domain.clients import Client
from server.protocol.credentials import CredentialRefused, VerifiedCredential, verify_credential
from tests.protocol.client_authentication.assertions import jwks_of, key_of, signed, signed_with_secret
from tests.support.application import Gatepost
from tests.support.flow import basic
from tests.support.gateway import Gateway

#: Not the issuer, so that a token for the API is for nobody else.
AUDIENCE = "https://api.example"
SCOPES = {
    "users:read": "See users",
    "users:write": "Change users",
    "users:delete": "Remove users",
    "notes:read": "Read",
}
INACTIVE = {"active": False}
_numbers = itertools.count(1)


class Makers:
    """`sharer` signs with its secret, `signer` with its key; both may have `users:*` and `notes:read`."""

    def __init__(self, gatepost: Gatepost, scope: str = "users:* notes:read") -> None:
        self.gatepost, self.scope = gatepost, scope
        self.key = key_of("ES256")
        self.sharer, self.secret = self.add("sharer")
        self.signer, _ = self.add("signer", token_endpoint_auth_method="private_key_jwt", jwks=jwks_of(self.key))
        self.resource_server, self.resource_secret = gatepost.add_client(
            "machine", client_id="an-api", may_introspect_any=True
        )

    @cached_property
    def gateway(self) -> Gateway:
        """The organization Acme and its keys."""
        return Gateway(self.gatepost)

    def add(self, client_id: str, **metadata: Any) -> tuple[Client, str]:
        """A client that makes tokens, and its secret."""
        defaults = {"jwt_authentication": True, "scope": self.scope}
        client, secret = self.gatepost.add_client("machine", client_id=client_id, **{**defaults, **metadata})
        return client, secret or ""

    def claims(self, client_id: str = "sharer", **changes: Any) -> dict[str, Any]:
        """The claims of a good token, changed; `...` leaves one out."""
        now = int(self.gatepost.clock.now().timestamp())
        claims = {"iss": client_id, "sub": client_id, "aud": AUDIENCE, "iat": now, "exp": now + 600, **changes}
        return {name: value for name, value in claims.items() if value is not ...}

    def token(self, client_id: str = "sharer", secret: str | None = None, **changes: Any) -> str:
        """A good token of the client, or one with other claims."""
        if client_id == "signer":
            return signed(self.claims(client_id, **changes), self.key, "ES256")
        return signed_with_secret(self.claims(client_id, **changes), secret or self.secret)

    def verify(self, token: str) -> VerifiedCredential:
        """What an API of ours makes of it."""
        with self.gatepost.work() as work:
            return verify_credential(work, token)

    def is_accepted(self, token: str) -> bool:
        """Whether an API of ours accepts it."""
        return self.reason(token) is None

    def reason(self, token: str) -> str | None:
        """Why it is refused, if it is."""
        try:
            self.verify(token)
        except CredentialRefused as error:
            return error.reason
        return None

    def introspect(self, token: str, asking: tuple[str, str] | None = None, **form: str) -> TestResponse:
        """What the resource server, or another client, is told."""
        client_id, secret = asking or (self.resource_server.id, self.resource_secret or "")
        data = {"token": token, **form}
        return self.gatepost.browser().post("/oauth/introspect", data=data, headers=basic(client_id, secret))

    def refused(self) -> list[str]:
        """The reasons in the audit log, oldest first."""
        return [row.details["reason"] for row in self.gatepost.audit_rows("client_token.refused")]

    def fresh_jti(self) -> str:
        """One that nobody has used."""
        return f"jti-{next(_numbers)}"
