"""The names of all audit events, each listed once."""

from __future__ import annotations

from enum import StrEnum


class AuditEvent(StrEnum):
    """`noun.what_happened`, stable: operators' alerts depend on them."""

    USER_CREATED = "user.created"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    USER_DELETED = "user.deleted"
    USER_PASSWORD_CHANGED = "user.password.changed"
    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    LOGIN_LIMITED = "login.limited"
    SESSION_CHOSEN = "session.chosen"
    SESSION_ENDED = "session.ended"
    CLIENT_CREATED = "client.created"
    CLIENT_DISABLED = "client.disabled"
    CLIENT_ENABLED = "client.enabled"
    CLIENT_DELETED = "client.deleted"
    CLIENT_SECRET_ISSUED = "client.secret.issued"
    CLIENT_SECRET_ROTATED = "client.secret.rotated"
    CLIENT_AUTHENTICATION_FAILED = "client.authentication.failed"
    CONSENT_GIVEN = "consent.given"
    CONSENT_DENIED = "consent.denied"
    AUTHORIZATION_CODE_ISSUED = "authorization_code.issued"
    AUTHORIZATION_CODE_REUSED = "authorization_code.reused"
    TOKEN_ISSUED = "token.issued"
    TOKEN_REVOKED = "token.revoked"
    REFRESH_TOKEN_ROTATED = "refresh_token.rotated"
    REFRESH_TOKEN_REPLAYED = "refresh_token.replayed"
    REFRESH_TOKEN_REUSED = "refresh_token.reused"
    GRANT_REVOKED = "grant.revoked"
    SIGNING_KEY_CREATED = "signing_key.created"
    SIGNING_KEY_ROTATED = "signing_key.rotated"
    SIGNING_KEY_RETIRED = "signing_key.retired"
    AUDIT_LOG_EXPORTED = "audit_log.exported"
