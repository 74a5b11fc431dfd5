"""A registered client in the shape that Authlib's grants ask questions of."""

from __future__ import annotations

from authlib.oauth2.rfc6749 import ClientMixin

from server.domain import redirect_uris, scopes
from server.domain.clients import Client


class RegisteredClient(ClientMixin):
    """Answers Authlib from the registry's row."""

    def __init__(self, row: Client) -> None:
        self.row = row

    def get_client_id(self) -> str:
        """The `client_id`."""
        return self.row.id

    def get_default_redirect_uri(self) -> None:  # type: ignore[override]  # Authlib's stub knows no absence
        """None: a request always names its redirect URI, which the code is then bound to."""

    def get_allowed_scope(self, scope: str) -> str | None:  # type: ignore[override]  # None is Authlib's refusal
        """What remains of `scope` for this client, or None when nothing does."""
        allowed = scopes.parse(scope) & self.row.allowed_scopes
        return scopes.format_scopes(allowed) if allowed else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Whether it is registered (RFC 9700 §4.1.3)."""
        return redirect_uris.is_registered(redirect_uri, self.row.redirect_uris, native=self.row.is_native)

    def check_response_type(self, response_type: str) -> bool:
        """Whether the client was registered for it."""
        return response_type in self.row.response_types

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether the client was registered for it."""
        return grant_type in self.row.grant_types
