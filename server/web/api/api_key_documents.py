"""API keys as JSON: what is told of one, what makes one, and what changes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from server.domain.api_keys import ApiKey
from server.domain.credential_usage import CredentialUsage
from server.domain.policy.api_key_terms import (
    MAXIMUM_DESCRIPTION,
    MAXIMUM_NETWORKS,
    MAXIMUM_PERMISSIONS,
    MAXIMUM_RATE,
)
from server.web.api.documents import Body, Document, Moment, Name, Text, Unsaid
from server.web.api.durations import PATTERN, Duration

Permissions = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=128)]], Field(min_length=1, max_length=MAXIMUM_PERMISSIONS)
]
Networks = Annotated[list[Annotated[Text, Field(min_length=2, max_length=50)]], Field(max_length=MAXIMUM_NETWORKS)]
Description = Annotated[Text, Field(max_length=MAXIMUM_DESCRIPTION)]
Lifetime = Annotated[str, Field(pattern=f"{PATTERN}|^never$")]
_NETWORKS = "Addresses and networks it may be used from, such as `203.0.113.7` or `2001:db8::/32`; empty for anywhere."


class ApiKeyDocument(Document):
    """An API key, without its secret."""

    id: str
    name: str
    description: str
    kind: Literal["standard", "restricted", "scim"]
    environment: Literal["live", "test"]
    masked_key: str = Field(description="The prefix and the last four characters.")
    permissions: list[str]
    owner_id: str | None = Field(description="Whose rights bound the key's; `null` if no person made it.")
    ip_allow_list: list[str]
    rate_limit_per_minute: int | None = Field(description="`null` for the deployment's own limit.")
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = Field(description="`null` for never.")
    revoked_at: datetime | None
    revoked_reason: str | None
    replaced_by_id: str | None = Field(description="The key that took its place by rotation.")
    last_used_at: datetime | None = Field(description="To the minute.")
    last_used_ip: str | None


class IssuedApiKey(ApiKeyDocument):
    """A new API key, with its secret, this once."""

    key: str = Field(description="The key itself. It is never shown again.")


class NewApiKeyBody(Body):
    """A key to make. It has at most what its maker may do, and lives no longer than the key it is made with."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "CI", "permissions": ["users:read"], "expiresIn": "365d"}]}
    )

    name: Name
    permissions: Permissions
    kind: Literal["standard", "restricted", "scim"] = "standard"
    description: Description = ""
    expires_in: Lifetime | None = Field(
        default=None,
        description="How long it lives: `365d`, `12h`, `never`; by default 90 days.",
    )
    ip_allow_list: Networks = Field(default=[], description=_NETWORKS)
    rate_limit_per_minute: int | None = Field(default=None, ge=1, le=MAXIMUM_RATE)


class ApiKeyChangesBody(Body):
    """What changes; the rest stays."""

    name: Name | Unsaid = None
    description: Description | Unsaid = None
    ip_allow_list: Networks | Unsaid = Field(default=None, description=_NETWORKS)
    rate_limit_per_minute: int | None = Field(
        default=None, ge=1, le=MAXIMUM_RATE, description="`null` for the deployment's own limit."
    )


class Rotation(Body):
    """How a key is replaced."""

    overlap: Duration = Field(
        default="24h",
        description="How long the old key goes on working: `0`, `1h`, `24h`, `7d`, `30d` …",
    )


class BulkRevocation(Body):
    """Which keys end: all that fit everything that is said. Saying nothing is refused; `all` says all."""

    prefix: Annotated[Text, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="What the keys begin with."
    )
    created_after: Moment | None = Field(default=None, description="Made then or later.")
    created_before: Moment | None = Field(default=None, description="Made earlier than then.")
    all: bool = Field(default=False, description="Every key of the environment.")


class Revoked(Document):
    """What came of it."""

    revoked: int = Field(description="How many keys ended by this request.")


class ApiKeyReport(Document):
    """Keys that somebody should look at."""

    data: list[ApiKeyDocument]


class UsageOfDay(Document):
    """One day, by UTC."""

    day: str
    uses: int
    failures: int


class UsageDocument(Document):
    """How a key was used lately. The counts are written with a delay of up to a minute."""

    last_used_at: datetime | None
    last_used_ip: str | None
    last_used_user_agent: str | None
    last_failure_at: datetime | None
    last_failure_reason: str | None
    days: list[UsageOfDay] = Field(description="The last 30 days on which it was used, oldest first.")


def members_of(key: ApiKey, last_use: CredentialUsage | None) -> dict[str, Any]:
    """What is told of the key, by the members' names."""
    same = (
        "id",
        "name",
        "description",
        "kind",
        "environment",
        "permissions",
        "owner_id",
        "ip_allow_list",
        "rate_limit_per_minute",
        "created_at",
        "updated_at",
        "expires_at",
        "revoked_at",
        "revoked_reason",
        "replaced_by_id",
    )
    return {
        **{name: getattr(key, name) for name in same},
        "masked_key": f"{key.prefix}…{key.hint}",
        "last_used_at": last_use.last_used_at if last_use is not None else None,
        "last_used_ip": last_use.last_used_ip if last_use is not None else None,
    }


def describe_usage(rows: Sequence[CredentialUsage]) -> UsageDocument:
    """The rows of some days, oldest first."""
    used = max((row for row in rows if row.last_used_at), key=lambda row: str(row.last_used_at), default=None)
    failed = max((row for row in rows if row.last_failure_at), key=lambda row: str(row.last_failure_at), default=None)
    return UsageDocument(
        last_used_at=used.last_used_at if used is not None else None,
        last_used_ip=used.last_used_ip if used is not None else None,
        last_used_user_agent=used.last_used_user_agent if used is not None else None,
        last_failure_at=failed.last_failure_at if failed is not None else None,
        last_failure_reason=failed.last_failure_reason if failed is not None else None,
        days=[UsageOfDay(day=row.day, uses=row.uses, failures=row.failures) for row in rows],
    )
