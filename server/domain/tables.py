"""All tables, in one place for migrations."""

from __future__ import annotations

from server.domain import (
    access_tokens,
    audit_chain,
    audit_records,
    authorization_codes,
    authorization_requests,
    browsers,
    client_secrets,
    clients,
    consents,
    grants,
    initial_access_tokens,
    login_attempts,
    outbox,
    refresh_tokens,
    registration_tokens,
    sessions,
    signing_keys,
    subjects,
    used_assertions,
    users,
)
from server.infra.database import Base

OWNERS = (
    access_tokens,
    audit_chain,
    audit_records,
    authorization_codes,
    authorization_requests,
    browsers,
    client_secrets,
    clients,
    consents,
    grants,
    initial_access_tokens,
    login_attempts,
    outbox,
    refresh_tokens,
    registration_tokens,
    sessions,
    signing_keys,
    subjects,
    used_assertions,
    users,
)

METADATA = Base.metadata
