"""All tables, in one place for migrations."""

from __future__ import annotations

from server.domain import (
    access_tokens,
    audit_chain,
    audit_records,
    authorization_codes,
    authorization_requests,
    client_secrets,
    clients,
    consents,
    grants,
    login_attempts,
    refresh_tokens,
    sessions,
    signing_keys,
    users,
)
from server.infra.database import Base

OWNERS = (
    access_tokens,
    audit_chain,
    audit_records,
    authorization_codes,
    authorization_requests,
    client_secrets,
    clients,
    consents,
    grants,
    login_attempts,
    refresh_tokens,
    sessions,
    signing_keys,
    users,
)

METADATA = Base.metadata
