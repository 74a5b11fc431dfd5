"""The seed of `gatepost dev --conformance`: the clients that the OpenID Foundation's conformance suite is told of.

The suite's modules that register nothing use `client`, `client2` and `client_secret_post`. Clients that are to be told
of a logout are two more: a module fails when the suite is told of one that it did not expect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from server.domain.client_registration import ClientMetadata, create_client
from server.domain.clients import Client, find_client
from server.domain.demo_seed import ensure_password, ensure_secret
from server.domain.policy.client_metadata import RESPONSE_TYPES
from server.domain.scopes import advertised, format_scopes
from server.domain.unit_of_work import UnitOfWork

CLIENT, CLIENT2, CLIENT_SECRET_POST = "conformance-client", "conformance-client2", "conformance-client-post"
BACKCHANNEL, FRONTCHANNEL = "conformance-backchannel", "conformance-frontchannel"
_GRANT_TYPES: Final = ("authorization_code", "implicit", "refresh_token")
#: The suite registers its second client's redirect URI with a query, which has to survive.
_QUERY: Final = "?dummy1=lorem&dummy2=ipsum"


@dataclass(frozen=True)
class ConformanceCredentials:
    """What the person and the clients sign in with, the clients' by client id."""

    password: str
    secrets: dict[str, str] = field(default_factory=dict)


def seed(work: UnitOfWork, base: str, kept: ConformanceCredentials | None) -> ConformanceCredentials:
    """Makes whatever is missing. Credentials that still fit are kept, others are renewed. Idempotent.

    Args:
        work: as the operator.
        base: the suite's URL for this plan's alias, `https://…/test/a/gatepost`; its own URLs stand below.
        kept: what an earlier run returned, or None.
    """
    found = {metadata.client_id: _ensure_client(work, metadata) for metadata in _metadata(work, base)}
    secrets_kept = kept.secrets if kept else {}
    return ConformanceCredentials(
        password=ensure_password(work, kept.password if kept else None),
        secrets={name: ensure_secret(work, client, secrets_kept.get(name)) for name, client in found.items() if name},
    )


def _metadata(work: UnitOfWork, base: str) -> tuple[ClientMetadata, ...]:
    def client(client_id: str, name: str, method: str = "client_secret_basic", **logout: str | bool) -> ClientMetadata:
        return ClientMetadata(
            client_name=name,
            client_type="web",
            client_id=client_id,
            redirect_uris=(f"{base}/callback", f"{base}/callback{_QUERY}"),
            post_logout_redirect_uris=(f"{base}/post_logout_redirect",),
            scope=format_scopes(advertised(work.settings)),
            token_endpoint_auth_method=method,
            grant_types=_GRANT_TYPES,
            response_types=RESPONSE_TYPES,
            # The suite sends PKCE in the one module that is about it, and a nonce in all others.
            require_pkce=False,
            id_token_claims="lean",
            is_demo=True,
            **logout,  # type: ignore[arg-type]
        )

    return (
        client(CLIENT, "Conformance client"),
        client(CLIENT2, "Second conformance client"),
        client(CLIENT_SECRET_POST, "Conformance client with its secret in the body", "client_secret_post"),
        client(
            BACKCHANNEL,
            "Conformance client with back-channel logout",
            backchannel_logout_uri=f"{base}/backchannel_logout",
            backchannel_logout_session_required=True,
        ),
        client(
            FRONTCHANNEL,
            "Conformance client with front-channel logout",
            frontchannel_logout_uri=f"{base}/frontchannel_logout",
            frontchannel_logout_session_required=True,
        ),
    )


def _ensure_client(work: UnitOfWork, metadata: ClientMetadata) -> Client:
    client = find_client(work, metadata.client_id or "")
    if client is None:
        return create_client(work, metadata)
    # Another suite than last time.
    client.redirect_uris = list(metadata.redirect_uris)
    client.post_logout_redirect_uris = list(metadata.post_logout_redirect_uris)
    client.backchannel_logout_uri = metadata.backchannel_logout_uri
    client.frontchannel_logout_uri = metadata.frontchannel_logout_uri
    return client
