"""Grants: what everything issued hangs on, ended once and with all that is under it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from server.domain.audit_events import AuditEvent
from server.domain.grants import (
    Granted,
    SignInFacts,
    create_grant,
    revoke_grant,
    revoke_grants_of_session,
    revoke_grants_of_user,
)
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import audited, find_grant, make_client, make_grant, make_session, make_user
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock


def test_grant_records_what_was_allowed_and_how_the_person_was_signed_in(
    make_gatepost: Callable[..., Gatepost],
) -> None:
    gatepost = make_gatepost(refresh_token_lifetime=1000, access_token_audience="https://api.example.com")
    with gatepost.work() as work:
        user, client = make_user(work), make_client(work)
        signed_in = work.now - timedelta(hours=1)
        facts = SignInFacts("sid", signed_in, ["pwd", "otp"], "2", work.now + timedelta(days=14))
        grant = create_grant(work, client.id, user.id, Granted(frozenset({"openid", "email"}), "a-nonce"), facts)
        assert (grant.client_id, grant.user_id, grant.session_id) == (client.id, user.id, "sid")
        assert (grant.scopes, grant.scope_set) == (["email", "openid"], {"openid", "email"})
        assert (grant.auth_time, grant.amr, grant.acr, grant.nonce) == (signed_in, ["pwd", "otp"], "2", "a-nonce")
        assert grant.audience == "https://api.example.com"
        assert grant.expires_at == work.now + timedelta(seconds=1000)
        assert (grant.revoked_at, grant.revocation_reason) == (None, None)


@pytest.mark.spec("OpenID Connect Core §11")
@pytest.mark.parametrize(
    ("scope", "session_ends_in", "grant_ends_in"),
    [("openid", 500, 500), ("openid", 5000, 1000), ("openid offline_access", 500, 1000)],
)
def test_grant_ends_with_the_session_unless_it_may_outlast_it(
    make_gatepost: Callable[..., Gatepost], scope: str, session_ends_in: int, grant_ends_in: int
) -> None:
    with make_gatepost(refresh_token_lifetime=1000, session_lifetime=session_ends_in).work() as work:
        user = make_user(work)
        _, session = make_session(work, user)
        grant = make_grant(work, make_client(work), user, scope=scope, session=session)
        assert grant.expires_at == work.now + timedelta(seconds=grant_ends_in)


def test_audience_is_the_issuer_unless_the_deployment_names_another(work: UnitOfWork) -> None:
    assert make_grant(work).audience == work.settings.issuer


def test_grant_is_revoked_and_audited_once(work: UnitOfWork, clock: FrozenClock) -> None:
    grant = make_grant(work)
    revoke_grant(work, grant, "first reason")
    revoked_at = work.now
    clock.advance(10)
    revoke_grant(work, grant, "second reason")
    assert (grant.revoked_at, grant.revocation_reason) == (revoked_at, "first reason")
    (row,) = audited(work, AuditEvent.GRANT_REVOKED)
    assert (row.user_id, row.client_id) == (grant.user_id, grant.client_id)
    assert row.details == {"reason": "first reason"}


def test_grant_is_read_as_the_database_has_it_now(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        grant = make_grant(work)
    with gatepost.work() as work:
        stale = work.db.merge(grant, load=False)
        # As another request would, behind this session's back.
        work.db.connection().exec_driver_sql("UPDATE grants SET revocation_reason = 'elsewhere'")
        assert stale.revocation_reason is None
        found = find_grant(work, grant.id)
        assert found is stale
        assert found.revocation_reason == "elsewhere"


def test_no_grant_is_found_when_there_is_none(work: UnitOfWork) -> None:
    assert find_grant(work, "unknown") is None


def test_everything_a_person_granted_ends_and_nobody_elses(work: UnitOfWork) -> None:
    user, client = make_user(work), make_client(work)
    first, second = make_grant(work, client, user), make_grant(work, make_client(work), user, scope="openid")
    other = make_grant(work, client, make_user(work, "alan@example.com"))
    revoke_grants_of_user(work, user.id, "password_changed")
    assert [grant.revocation_reason for grant in (first, second, other)] == ["password_changed"] * 2 + [None]
    assert [row.details for row in audited(work, AuditEvent.GRANT_REVOKED)] == [{"reason": "password_changed"}] * 2


def test_grants_of_the_session_end_unless_they_may_outlast_it(work: UnitOfWork) -> None:
    user, client = make_user(work), make_client(work)
    _, session = make_session(work, user)
    _, other_session = make_session(work, user)
    online = make_grant(work, client, user, scope="openid email", session=session)
    offline = make_grant(work, client, user, scope="openid offline_access", session=session)
    elsewhere = make_grant(work, client, user, scope="openid", session=other_session)
    ended = make_grant(work, client, user, scope="openid", session=session)
    revoke_grant(work, ended, "an earlier reason")
    revoke_grants_of_session(work, session.id)
    reasons = [grant.revocation_reason for grant in (online, offline, elsewhere, ended)]
    assert reasons == ["signed_out", None, None, "an earlier reason"]
    assert len(audited(work, AuditEvent.GRANT_REVOKED)) == 2
