"""Access tokens: not stored; single ones may end before their time."""

from __future__ import annotations

from datetime import timedelta

from server.domain.access_tokens import RevokedAccessToken, is_revoked, revoke_access_token
from server.domain.audit_events import AuditEvent
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import audited


def test_token_is_live_until_it_is_revoked_by_itself(work: UnitOfWork) -> None:
    expires_at = work.now + timedelta(hours=1)
    assert not is_revoked(work, "one")
    revoke_access_token(work, "one", "a-client", expires_at)
    assert is_revoked(work, "one")
    assert not is_revoked(work, "two")
    row = work.db.get_one(RevokedAccessToken, "one")
    assert (row.revoked_at, row.expires_at) == (work.now, expires_at)


def test_revocation_is_audited_once_however_often_it_is_asked(work: UnitOfWork) -> None:
    for _ in range(3):
        revoke_access_token(work, "one", "a-client", work.now)
    (row,) = audited(work, AuditEvent.TOKEN_REVOKED)
    assert (row.client_id, row.details) == ("a-client", {"kind": "access_token"})
