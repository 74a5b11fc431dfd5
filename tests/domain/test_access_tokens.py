"""Access tokens: not stored; single ones may end before their time."""

from __future__ import annotations

from datetime import timedelta

from server.domain.access_tokens import RevokedAccessToken, revoke_access_token, standing_of
from server.domain.audit_events import AuditEvent
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import audited, make_grant


def test_token_is_live_until_it_is_revoked_by_itself(work: UnitOfWork) -> None:
    expires_at = work.now + timedelta(hours=1)
    assert not standing_of(work, "one", None).is_revoked
    revoke_access_token(work, "one", "a-client", expires_at)
    assert standing_of(work, "one", None).is_revoked
    assert not standing_of(work, "two", None).is_revoked
    row = work.db.get_one(RevokedAccessToken, "one")
    assert (row.revoked_at, row.expires_at) == (work.now, expires_at)


def test_standing_tells_of_revocation_grant_and_person_at_once(work: UnitOfWork) -> None:
    grant = make_grant(work)
    standing = standing_of(work, "one", grant.id)
    assert (standing.is_revoked, standing.grant.id, standing.user.id) == (False, grant.id, grant.user_id)
    revoke_access_token(work, "one", grant.client_id, work.now)
    assert standing_of(work, "one", grant.id).is_revoked
    gone = standing_of(work, "one", "no-such-grant")
    assert (gone.grant, gone.user) == (None, None)


def test_revocation_is_audited_once_however_often_it_is_asked(work: UnitOfWork) -> None:
    for _ in range(3):
        revoke_access_token(work, "one", "a-client", work.now)
    (row,) = audited(work, AuditEvent.TOKEN_REVOKED)
    assert (row.client_id, row.details) == ("a-client", {"kind": "access_token"})
