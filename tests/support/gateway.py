"""An organization with keys, and a gateway that asks `/v1/verify` about them."""

from __future__ import annotations

from typing import Any

from werkzeug.test import TestResponse

from server.domain.api_key_issuing import OPERATOR_MAKER, Maker, NewApiKey, issue_api_key, update_api_key
from server.domain.api_keys import ApiKey, get_api_key
from server.domain.organizations import Organization, create_organization
from server.domain.usage_writing import flush_usage
from tests.support.application import Gatepost

#: The scopes of the API behind the gateway.
API_SCOPES = {
    "users:read": "See users",
    "users:write": "Change users",
    "users:delete": "Remove users",
    "audit:read": "See what happened",
}


class Gateway:
    """One deployment with the organization Acme, asked by a gateway."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.gatepost = gatepost
        self.acme = self.organization("Acme", "acme")

    def organization(self, name: str, slug: str) -> Organization:
        """Another organization."""
        with self.gatepost.work() as work:
            return create_organization(work, name, slug=slug)

    def key(
        self,
        *permissions: str,
        organization: Organization | None = None,
        maker: Maker = OPERATOR_MAKER,
        **details: Any,
    ) -> tuple[ApiKey, str]:
        """A key of Acme's, or of another organization's."""
        new = NewApiKey(**{"name": "Orders", "permissions": permissions or ("users:read",), **details})
        with self.gatepost.work() as work:
            return issue_api_key(work, organization or self.acme, new, maker)

    def change(self, key_id: str, **changes: Any) -> None:
        """Changes a key of Acme's, as the operator."""
        with self.gatepost.work() as work:
            update_api_key(work, get_api_key(work, self.acme.id, "live", key_id), OPERATOR_MAKER, **changes)

    def flush_usage(self) -> None:
        """Writes down what was noted of uses and refusals, as a thread does it in the server."""
        with self.gatepost.work() as work:
            flush_usage(work)

    def ask(self, key: str | None, query: str = "", *, path: str = "/v1/verify", **options: Any) -> TestResponse:
        """The answer to the gateway; `options` are the test client's."""
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key}")
        method = options.pop("method", "GET")
        url = f"{path}?{query}" if query else path
        # Without a jar, so that a `Cookie` among the headers is sent as it stands.
        client = self.gatepost.app.test_client(use_cookies=False)
        return client.open(url, method=method, headers=headers, **options)
