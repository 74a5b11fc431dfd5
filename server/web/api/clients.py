"""`/v1/organizations/{organization}/clients`: the OAuth applications of an organization."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from server.domain import deletion, organization_clients, scopes
from server.domain.client_registration import ClientMetadata
from server.domain.client_secrets import (
    ClientSecret,
    end_client_secret,
    list_client_secrets,
    needs_secret,
    rotate_client_secret,
)
from server.domain.clients import Client, disable_client, enable_client
from server.domain.errors import Conflict, Denied, Invalid
from server.domain.policy.client_metadata import ClientType
from server.web.api.admission import Call
from server.web.api.documents import Body, Document, Name, Page, PageQuery, Text, Unsaid
from server.web.api.durations import Duration, parse_duration
from server.web.api.pagination import one_page

Method = Literal["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"]
Url = Annotated[Text, Field(min_length=1, max_length=2008)]
Urls = Annotated[list[Url], Field(max_length=50)]
Scope = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!#-\[\]-~]+$")]
Contact = Annotated[Text, Field(min_length=1, max_length=254)]
#: The members that are spelled otherwise in the metadata of RFC 7591.
_NAMES = {"name": "client_name", "scopes": "scope"}
#: What gives nobody the use of a client: neither what proves it, nor where its answers go, nor what it may do.
_HARMLESS = frozenset({"client_name", "client_uri", "policy_uri", "tos_uri", "contacts"})


class SecretDocument(Document):
    """A secret of a client, without the secret itself."""

    id: str
    hint: str = Field(description="Its last four characters.")
    created_at: datetime
    expires_at: datetime | None = Field(description="`null` while nothing has replaced it.")


class ClientDocument(Document):
    """An OAuth application."""

    id: str = Field(description="The `client_id`.")
    name: str
    type: Literal["web", "spa", "native", "machine", "device"]
    environment: Literal["live", "test"]
    redirect_uris: list[str]
    post_logout_redirect_uris: list[str]
    scopes: list[str]
    grant_types: list[str]
    response_types: list[str]
    token_endpoint_auth_method: str
    client_uri: str | None
    policy_uri: str | None
    tos_uri: str | None
    contacts: list[str]
    jwks: dict[str, Any] | None
    jwks_uri: str | None
    jwt_authentication: bool = Field(description="Whether JWTs that it signs itself are taken as bearer tokens.")
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None


class ClientWithSecrets(ClientDocument):
    """An OAuth application and what is known of its secrets."""

    secrets: list[SecretDocument]


class IssuedClient(ClientDocument):
    """An OAuth application and a secret of it, this once."""

    client_secret: str | None = Field(description="Never shown again; `null` if it needs none, or no new one.")


class IssuedSecret(Document):
    """A new secret, this once."""

    client_secret: str = Field(description="Never shown again.")


class _Metadata(Body):
    post_logout_redirect_uris: Urls | Unsaid = None
    scopes: Annotated[list[Scope], Field(max_length=100)] | Unsaid = Field(
        default=None, description="At most what its maker may do."
    )
    token_endpoint_auth_method: Method | Unsaid = None
    client_uri: Url | None = None
    policy_uri: Url | None = None
    tos_uri: Url | None = None
    contacts: Annotated[list[Contact], Field(max_length=10)] | Unsaid = None
    jwks: dict[str, Any] | None = Field(default=None, description="Its public keys (RFC 7517 §5).")
    jwks_uri: Url | None = None
    jwt_authentication: bool | Unsaid = None


class NewClient(_Metadata):
    """An application to register."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Nightly job", "type": "machine", "scopes": ["users:read"]}]}
    )

    name: Name
    type: ClientType = "web"
    redirect_uris: Urls | Unsaid = None


class ClientChanges(_Metadata):
    """What changes; the rest stays."""

    name: Name | Unsaid = None
    redirect_uris: Urls | Unsaid = None
    disabled: bool | None = Field(default=None, description="Whether nothing of it works for now.")


class SecretRotation(Body):
    """How a secret is replaced."""

    overlap: Duration = Field(default="24h", description="How long the old ones go on working.")


def list_clients(call: Call) -> Page[ClientDocument]:
    """The applications of the environment."""
    query: PageQuery = call.query
    rows = organization_clients.list_organization_clients(call.work, call.organization.id, call.environment)
    page, cursor = one_page(rows, query, lambda each: (each.created_at, each.id))
    return Page[ClientDocument](data=[ClientDocument(**_members(each)) for each in page], next_cursor=cursor)


def create(call: Call) -> IssuedClient:
    """Registers one."""
    body: NewClient = call.body
    _check_lasting(call)
    person = call.answerable
    metadata = ClientMetadata(
        **_metadata_of(body, {"type"}),
        client_type=body.type,
        organization_id=call.organization.id,
        environment=call.environment,
        created_by=person.id if person is not None else None,
    )
    client, secret = organization_clients.create_organization_client(call.work, metadata, call.allowed)
    return IssuedClient(**_members(client), client_secret=secret)


def get(call: Call, client_id: str) -> ClientWithSecrets:
    """One of them, and what is known of its secrets."""
    client = _client(call, client_id)
    secrets = [_secret(each) for each in list_client_secrets(call.work, client)]
    return ClientWithSecrets(**_members(client), secrets=secrets)


def update(call: Call, client_id: str) -> IssuedClient:
    """Changes what is sent, leaves the rest; tells a secret that it needs by that."""
    body: ClientChanges = call.body
    client, secret = _client(call, client_id), None
    changes = _metadata_of(body, {"disabled"})
    if not _HARMLESS.issuperset(changes):
        _check_lasting(call)
    if changes:
        secret = organization_clients.change_organization_client(call.work, client, changes, call.allowed)
    if body.disabled:
        organization_clients.check_may_end(client)
        disable_client(call.work, client)
    elif body.disabled is False:
        # Whoever switches it on again gives it back all that it may do.
        organization_clients.check_reach(client, call.allowed)
        enable_client(call.work, client)
    return IssuedClient(**_members(client), client_secret=secret)


def delete(call: Call, client_id: str) -> None:
    """Removes it with its secrets, consents and grants."""
    client = _client(call, client_id)
    organization_clients.check_may_end(client)
    deletion.delete_client(call.work, client)


def rotate_secret(call: Call, client_id: str) -> IssuedSecret:
    """A new secret, shown this once; the old ones go on for a while."""
    body: SecretRotation = call.body
    client = _client(call, client_id)
    _check_lasting(call)
    organization_clients.check_reach(client, call.allowed)
    if not needs_secret(client):
        raise Conflict("This client has no secret: it is public, or signs with a key of its own.")
    overlap = int(parse_duration("overlap", body.overlap).total_seconds())
    return IssuedSecret(client_secret=rotate_client_secret(call.work, client, overlap))


def end_secret(call: Call, client_id: str, secret_id: str) -> None:
    """Ends one secret now."""
    client = _client(call, client_id)
    organization_clients.check_may_end(client)
    end_client_secret(call.work, client, secret_id)


def _check_lasting(call: Call) -> None:
    """A key makes nothing that lives longer than itself (K-11): a client, and what proves one, has no end."""
    if call.caller.is_short_lived:
        raise Denied("An application outlives this credential: use a key that never expires, or sign in.")


def _client(call: Call, client_id: str) -> Client:
    return organization_clients.get_organization_client(call.work, call.organization.id, call.environment, client_id)


def _metadata_of(body: _Metadata, without: set[str]) -> dict[str, Any]:
    """What was sent, by the names of RFC 7591 and in its types; a null where there is a default is none."""
    sent = body.model_dump(exclude_unset=True, by_alias=False, exclude=without)
    values: dict[str, Any] = {}
    for name, value in sent.items():
        if value is None and name not in {"client_uri", "policy_uri", "tos_uri", "jwks", "jwks_uri"}:
            raise Invalid(name, "this cannot be null.")
        meant = scopes.format_scopes(value) if name == "scopes" else value
        values[_NAMES.get(name, name)] = tuple(meant) if isinstance(meant, list) else meant
    return values


def _members(client: Client) -> dict[str, Any]:
    """What is told of a client, by the members' names."""
    same = (
        "id",
        "environment",
        "redirect_uris",
        "post_logout_redirect_uris",
        "grant_types",
        "response_types",
        "token_endpoint_auth_method",
        "client_uri",
        "policy_uri",
        "tos_uri",
        "contacts",
        "jwks",
        "jwks_uri",
        "jwt_authentication",
        "created_at",
        "updated_at",
        "disabled_at",
    )
    return {
        **{name: getattr(client, name) for name in same},
        "name": client.client_name,
        "type": client.client_type,
        "scopes": sorted(client.allowed_scopes),
    }


def _secret(secret: ClientSecret) -> SecretDocument:
    return SecretDocument(id=secret.id, hint=secret.hint, created_at=secret.created_at, expires_at=secret.expires_at)
