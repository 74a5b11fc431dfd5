"""All tables, in one place for migrations."""

from __future__ import annotations

from server.domain import (
    access_tokens,
    api_keys,
    audit_chain,
    audit_records,
    authorization_codes,
    authorization_requests,
    browsers,
    client_logos,
    client_secrets,
    clients,
    consents,
    credential_limits,
    credential_usage,
    grants,
    idempotent_responses,
    initial_access_tokens,
    invitations,
    login_attempts,
    membership_records,
    organizations,
    outbox,
    outgoing_mail,
    refresh_tokens,
    registration_tokens,
    roles,
    sessions,
    signing_keys,
    subjects,
    used_assertions,
    users,
)
from server.infra.database import Base

OWNERS = (
    access_tokens,
    api_keys,
    audit_chain,
    audit_records,
    authorization_codes,
    authorization_requests,
    browsers,
    client_logos,
    client_secrets,
    clients,
    consents,
    credential_limits,
    credential_usage,
    grants,
    idempotent_responses,
    initial_access_tokens,
    invitations,
    login_attempts,
    membership_records,
    organizations,
    outbox,
    outgoing_mail,
    refresh_tokens,
    registration_tokens,
    roles,
    sessions,
    signing_keys,
    subjects,
    used_assertions,
    users,
)

METADATA = Base.metadata

# Once, before there are threads or workers: rows are made past the mapper too, which would not have begun by itself.
Base.registry.configure()
