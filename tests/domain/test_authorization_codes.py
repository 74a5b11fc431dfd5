"""Authorization codes: used once, kept as digests, and dear to whoever presents one twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url

from server.domain.audit_events import AuditEvent
from server.domain.authorization_codes import (
    find_authorization_code,
    issue_authorization_code,
    redeem_authorization_code,
    revoke_for_reuse,
)
from server.domain.browsers import create_browser
from server.domain.client_secrets import issue_client_secret
from server.domain.refresh_tokens import find_refresh_token
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import (
    REDIRECT_URI,
    audited,
    find_grant,
    last_audited,
    make_client,
    make_grant,
    make_refresh_token,
)
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_code_is_bound_to_grant_client_redirect_uri_and_challenge(work: UnitOfWork) -> None:
    grant = make_grant(work)
    code = issue_authorization_code(work, grant, REDIRECT_URI, CHALLENGE)
    known = find_authorization_code(work, code)
    assert code.startswith("ac_")
    assert len(code) == 46
    assert known is not None
    row = known.row
    assert (row.grant_id, row.client_id, row.redirect_uri) == (grant.id, grant.client_id, REDIRECT_URI)
    assert row.code_challenge == CHALLENGE
    assert row.expires_at == work.now + timedelta(seconds=60)
    assert row.consumed_at is None
    event = last_audited(work, AuditEvent.AUTHORIZATION_CODE_ISSUED)
    assert (event.user_id, event.client_id) == (grant.user_id, grant.client_id)
    assert code not in str(event.details)


def test_code_has_no_challenge_when_the_request_had_none(work: UnitOfWork) -> None:
    row = find_authorization_code(work, issue_authorization_code(work, make_grant(work), REDIRECT_URI, None))
    assert row is not None
    assert row.row.code_challenge is None


def test_code_lives_as_long_as_the_deployment_says(make_gatepost: Callable[..., Gatepost]) -> None:
    with make_gatepost(authorization_code_lifetime=5).work() as work:
        row = find_authorization_code(work, issue_authorization_code(work, make_grant(work), REDIRECT_URI, None))
        assert row is not None
        assert row.row.expires_at == work.now + timedelta(seconds=5)


@pytest.mark.parametrize("code", ["", "ac_", "ac_unknown", "rt_unknown", "\0", "ac_\0"])
def test_no_code_is_found_when_there_is_none(work: UnitOfWork, code: str) -> None:
    issue_authorization_code(work, make_grant(work), REDIRECT_URI, None)
    assert find_authorization_code(work, code) is None


def test_digest_is_no_code_when_it_is_presented(work: UnitOfWork) -> None:
    row = find_authorization_code(work, issue_authorization_code(work, make_grant(work), REDIRECT_URI, None))
    assert row is not None
    assert find_authorization_code(work, row.row.code_digest) is None
    assert find_authorization_code(work, "ac_" + row.row.code_digest) is None


@pytest.mark.spec("RFC 6749 §4.1.2")
def test_code_is_consumed_once(work: UnitOfWork, clock: FrozenClock) -> None:
    code = issue_authorization_code(work, make_grant(work), REDIRECT_URI, None)
    row = find_authorization_code(work, code)
    assert row is not None
    consumed_at = work.now
    assert redeem_authorization_code(work, row, None)
    clock.advance(1)
    assert not redeem_authorization_code(work, row, None)
    again = find_authorization_code(work, code)
    assert again is not None
    assert again.row.consumed_at == consumed_at


@pytest.mark.spec("R-01", "INV-01")
def test_code_is_consumed_once_when_two_requests_read_it_before(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        code = issue_authorization_code(work, make_grant(work), REDIRECT_URI, None)
    with gatepost.work() as one, gatepost.work() as other:
        first, second = find_authorization_code(one, code), find_authorization_code(other, code)
        assert first is not None
        assert second is not None
        assert redeem_authorization_code(one, first, None)
        assert second.row.consumed_at is None
        assert not redeem_authorization_code(other, second, None)


def test_refresh_token_is_stored_with_the_redemption_and_only_by_the_first(work: UnitOfWork) -> None:
    grant = make_grant(work)
    known = find_authorization_code(work, issue_authorization_code(work, grant, REDIRECT_URI, None))
    assert known is not None
    assert redeem_authorization_code(work, known, "rt_first")
    assert not redeem_authorization_code(work, known, "rt_second")
    stored = find_refresh_token(work, "rt_first")
    assert stored is not None
    assert (stored.row.grant_id, stored.row.client_id, stored.row.predecessor_id) == (grant.id, grant.client_id, None)
    assert find_refresh_token(work, "rt_second") is None
    (event,) = audited(work, AuditEvent.TOKEN_ISSUED)
    assert (event.user_id, event.client_id) == (grant.user_id, grant.client_id)
    assert event.details == {"grant_id": grant.id, "grant_type": "authorization_code"}


def test_code_is_free_again_when_the_transaction_that_consumed_it_fails(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        code = issue_authorization_code(work, make_grant(work), REDIRECT_URI, None)

    def fail() -> None:
        with gatepost.work() as work:
            row = find_authorization_code(work, code)
            assert row is not None
            work.db.connection()
            assert redeem_authorization_code(work, row, None)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with gatepost.work() as work:
        row = find_authorization_code(work, code)
        assert row is not None
        assert redeem_authorization_code(work, row, None)


@pytest.mark.spec("RFC 6749 §4.1.2")
def test_grant_is_revoked_for_good_and_audited_when_a_code_comes_back(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        grant = make_grant(work)
        code = issue_authorization_code(work, grant, REDIRECT_URI, None)

    def refuse() -> None:
        with gatepost.work() as work:
            row = find_authorization_code(work, code)
            assert row is not None
            revoke_for_reuse(work, row)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        refuse()
    with gatepost.work() as work:
        found = find_grant(work, grant.id)
        assert found is not None
        assert found.revocation_reason == "authorization_code_reused"
        row = last_audited(work, AuditEvent.AUTHORIZATION_CODE_REUSED)
        assert (row.user_id, row.client_id) == (grant.user_id, grant.client_id)
        assert last_audited(work, AuditEvent.GRANT_REVOKED).details == {"reason": "authorization_code_reused"}


def test_grant_is_revoked_once_when_a_code_comes_back_often(work: UnitOfWork) -> None:
    row = find_authorization_code(work, issue_authorization_code(work, make_grant(work), REDIRECT_URI, None))
    assert row is not None
    revoke_for_reuse(work, row)
    revoke_for_reuse(work, row)
    assert len(audited(work, AuditEvent.GRANT_REVOKED)) == 1


def test_nothing_happens_when_the_grant_of_a_code_is_gone_meanwhile(work: UnitOfWork) -> None:
    grant = make_grant(work)
    row = find_authorization_code(work, issue_authorization_code(work, grant, REDIRECT_URI, None))
    assert row is not None
    work.db.connection().exec_driver_sql("DELETE FROM grants")
    work.db.expunge(grant)
    revoke_for_reuse(work, row)
    assert audited(work, AuditEvent.AUTHORIZATION_CODE_REUSED) == []


@pytest.mark.spec("INV-22")
def test_no_secret_stands_in_the_database_file_in_plain_text(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        client = make_client(work)
        grant = make_grant(work, client)
        issued = {
            "authorization code": issue_authorization_code(work, grant, REDIRECT_URI, CHALLENGE),
            "refresh token": make_refresh_token(work, grant),
            "client secret": issue_client_secret(work, client),
            "cookie secret": create_browser(work)[1],
        }
    path = Path(str(make_url(gatepost.settings.database_url.get_secret_value()).database))
    stored = b"".join(file.read_bytes() for file in sorted(path.parent.glob(path.name + "*")))
    assert grant.id.encode() in stored
    for name, secret in issued.items():
        assert secret.encode() not in stored, name
        assert secret[3:].encode() not in stored, name
