"""`/v1/organizations/{organization}/api-keys`: to make, see, change, rotate and revoke them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.domain import api_key_reports, api_keys
from server.domain.api_key_issuing import Maker, NewApiKey, issue_api_key, rotate_api_key, update_api_key
from server.domain.api_keys import ApiKey
from server.domain.credential_usage import last_use_of, usage_of
from server.domain.errors import Invalid
from server.web.api.admission import Call
from server.web.api.api_key_documents import (
    ApiKeyChangesBody,
    ApiKeyDocument,
    ApiKeyReport,
    BulkRevocation,
    IssuedApiKey,
    NewApiKeyBody,
    Revoked,
    Rotation,
    UsageDocument,
    describe_usage,
    members_of,
)
from server.web.api.documents import Page, PageQuery
from server.web.api.durations import NEVER, parse_duration
from server.web.api.pagination import cut, position_after

_KIND: Final = "api_key"


def list_api_keys(call: Call) -> Page[ApiKeyDocument]:
    """The keys of the environment, whatever their state."""
    query: PageQuery = call.query
    # There may be more of them than fit into memory.
    rows = api_keys.page_api_keys(
        call.work, call.organization.id, call.environment, after=position_after(query), limit=query.limit + 1
    )
    page, cursor = cut(rows, query, lambda each: (each.created_at, each.id))
    return Page[ApiKeyDocument](data=_documents(call, page), next_cursor=cursor)


def create(call: Call) -> IssuedApiKey:
    """Makes one and shows it, this once."""
    body: NewApiKeyBody = call.body
    lifetime = None
    if body.expires_in not in (None, NEVER):
        lifetime = parse_duration("expires_in", body.expires_in or "")
    new = NewApiKey(
        name=body.name,
        permissions=body.permissions,
        environment=call.environment,
        kind=body.kind,
        description=body.description,
        expires_at=call.work.now + lifetime if lifetime is not None else None,
        never_expires=body.expires_in == NEVER,
        ip_allow_list=body.ip_allow_list,
        rate_limit_per_minute=body.rate_limit_per_minute,
    )
    key, text = issue_api_key(call.work, call.organization, new, _maker(call))
    return IssuedApiKey(**members_of(key, None), key=text)


def get(call: Call, key_id: str) -> ApiKeyDocument:
    """One of them."""
    return _document(call, _key(call, key_id))


def update(call: Call, key_id: str) -> ApiKeyDocument:
    """Changes what is sent, leaves the rest."""
    body: ApiKeyChangesBody = call.body
    key = _key(call, key_id)
    changes: dict[str, Any] = body.model_dump(exclude_unset=True, by_alias=False)
    for name in ("name", "description", "ip_allow_list"):
        if name in changes and changes[name] is None:
            raise Invalid(name, "this cannot be null.")
    update_api_key(call.work, key, _maker(call), **changes)
    return _document(call, key)


def revoke(call: Call, key_id: str) -> None:
    """Ends it, at once and everywhere."""
    api_keys.revoke_api_key(call.work, _key(call, key_id), "api")


def rotate(call: Call, key_id: str) -> IssuedApiKey:
    """Makes another in its place, shown this once; the old one goes on for a while."""
    body: Rotation = call.body
    overlap = int(parse_duration("overlap", body.overlap).total_seconds())
    key, text = rotate_api_key(call.work, _key(call, key_id), overlap, _maker(call))
    return IssuedApiKey(**members_of(key, None), key=text)


def revoke_many(call: Call) -> Revoked:
    """Ends all that fit, with one statement."""
    body: BulkRevocation = call.body
    if body.all is (body.prefix is not None or body.created_after is not None or body.created_before is not None):
        raise Invalid("all", "say which keys: prefix, createdAfter, createdBefore; or that all of them end.")
    count = api_keys.revoke_api_keys(
        call.work,
        call.organization.id,
        environment=call.environment,
        prefix=body.prefix,
        created_after=body.created_after,
        created_before=body.created_before,
    )
    return Revoked(revoked=count)


def get_usage(call: Call, key_id: str) -> UsageDocument:
    """How it was used in the last 30 days."""
    return describe_usage(usage_of(call.work, _KIND, _key(call, key_id).id))


def list_expiring(call: Call) -> ApiKeyReport:
    """Keys that end within 30 days."""
    rows = api_key_reports.keys_expiring_soon(call.work, call.organization.id, call.environment)
    return ApiKeyReport(data=_documents(call, rows))


def list_unused(call: Call) -> ApiKeyReport:
    """Keys that nobody has used for 90 days."""
    rows = api_key_reports.keys_unused(call.work, call.organization.id, call.environment)
    return ApiKeyReport(data=_documents(call, rows))


def _maker(call: Call) -> Maker:
    """What bounds a key by whoever makes it (K-11)."""
    key = call.caller.key
    if key is None:
        return Maker(call.allowed, call.answerable)
    return Maker(call.allowed, call.answerable, key.expires_at, key.ip_allow_list, key.rate_limit_per_minute)


def _key(call: Call, key_id: str) -> ApiKey:
    return api_keys.get_api_key(call.work, call.organization.id, call.environment, key_id)


def _document(call: Call, key: ApiKey) -> ApiKeyDocument:
    return _documents(call, [key])[0]


def _documents(call: Call, keys: Sequence[ApiKey]) -> list[ApiKeyDocument]:
    last_uses = last_use_of(call.work, _KIND, [key.id for key in keys])
    return [ApiKeyDocument(**members_of(key, last_uses.get(key.id))) for key in keys]
