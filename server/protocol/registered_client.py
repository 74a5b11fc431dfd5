"""A registered client in the shape that Authlib's grants ask questions of: the grant type is all they ask."""

from __future__ import annotations

from authlib.oauth2.rfc6749 import ClientMixin

from server.domain.clients import Client


class RegisteredClient(ClientMixin):
    """Answers Authlib from the registry's row."""

    def __init__(self, row: Client) -> None:
        self.row = row

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether the client was registered for it."""
        return grant_type in self.row.grant_types
