"""Refresh rotation: one use, one successor, one short window for a lost answer, and the end of the family otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from server.domain.audit_events import AuditEvent
from server.domain.grants import Grant, find_grant, revoke_grant
from server.domain.refresh_rotation import consume_refresh_token, find_replay, keep_replay, revoke_for_reuse
from server.domain.refresh_tokens import RefreshToken, find_refresh_token, issue_refresh_token
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import get_user
from server.infra.keyring import KeyringError, open_with_secret
from tests.domain.factories import audited, last_audited, make_client, make_grant
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

SCOPE = "openid offline_access"


@dataclass
class Family:
    """One grant and the tokens that follow each other under it."""

    work: UnitOfWork
    grant: Grant

    def first(self) -> str:
        return issue_refresh_token(self.work, self.grant)

    def row(self, token: str) -> RefreshToken:
        row = find_refresh_token(self.work, token)
        assert row is not None
        return row

    def rotate(self, token: str, scope: str = SCOPE) -> tuple[str, dict[str, Any]]:
        """What the refresh grant does: spends the token, issues its successor, keeps the answer."""
        row = self.row(token)
        assert consume_refresh_token(self.work, row)
        successor = issue_refresh_token(self.work, self.grant, predecessor=row)
        response = {"access_token": "at " + successor, "refresh_token": successor, "expires_in": 3600}
        keep_replay(self.work, row, token, scope, response)
        return successor, response

    def replay(self, token: str, client_id: str | None = None, scope: str = SCOPE) -> dict[str, Any] | None:
        return find_replay(self.work, token, client_id or self.grant.client_id, scope)


@pytest.fixture
def family(work: UnitOfWork) -> Family:
    return Family(work, make_grant(work, scope=SCOPE))


# ------------------------------------------------------------------------------------------------------------- consume


@pytest.mark.spec("RFC 9700 §4.14.2")
def test_token_is_consumed_once(work: UnitOfWork, family: Family, clock: FrozenClock) -> None:
    row = family.row(family.first())
    clock.advance(5)
    consumed_at = work.now
    assert consume_refresh_token(work, row)
    clock.advance(5)
    assert not consume_refresh_token(work, row)
    work.db.refresh(row)
    assert row.consumed_at == row.last_used_at == consumed_at


@pytest.mark.spec("R-08")
def test_token_is_consumed_once_when_two_requests_read_it_before(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        row = find_refresh_token(work, issue_refresh_token(work, make_grant(work)))
        assert row is not None
    with gatepost.work() as work:
        assert consume_refresh_token(work, work.db.merge(row, load=False))
    with gatepost.work() as work:
        stale = work.db.merge(row, load=False)
        assert stale.consumed_at is None
        assert not consume_refresh_token(work, stale)


def test_token_is_free_again_when_the_transaction_that_consumed_it_fails(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        token = issue_refresh_token(work, make_grant(work))

    def fail() -> None:
        with gatepost.work() as work:
            row = find_refresh_token(work, token)
            assert row is not None
            assert consume_refresh_token(work, row)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with gatepost.work() as work:
        row = find_refresh_token(work, token)
        assert row is not None
        assert consume_refresh_token(work, row)


# -------------------------------------------------------------------------------------------------------------- replay


@pytest.mark.spec("R-07")
def test_very_same_response_comes_again_when_the_answer_was_lost(family: Family, clock: FrozenClock) -> None:
    token = family.first()
    _, response = family.rotate(token)
    for _ in range(5):
        clock.advance(5)
        assert family.replay(token) == response


@pytest.mark.parametrize(("seconds", "is_told"), [(0, True), (29.999, True), (30, True), (30.001, False), (31, False)])
@pytest.mark.spec("R-09")
def test_replay_ends_to_the_second_of_its_window(
    family: Family, clock: FrozenClock, seconds: float, is_told: bool
) -> None:
    token = family.first()
    family.rotate(token)
    clock.advance(seconds)
    assert (family.replay(token) is not None) is is_told


def test_replay_is_not_there_before_the_token_was_used(family: Family) -> None:
    assert family.replay(family.first()) is None


@pytest.mark.spec("R-09", "INV-03")
def test_replay_ends_when_the_successor_is_used(family: Family, clock: FrozenClock) -> None:
    first = family.first()
    second, _ = family.rotate(first)
    clock.advance(1)
    third, response = family.rotate(second)
    assert family.replay(first) is None
    assert family.row(first).replay is None
    assert family.replay(second) == response
    family.rotate(third)
    assert family.replay(second) is None


def test_replay_is_refused_when_another_client_asks(work: UnitOfWork, family: Family) -> None:
    token = family.first()
    family.rotate(token)
    assert family.replay(token, client_id=make_client(work).id) is None


@pytest.mark.parametrize("scope", ["openid", "", "openid offline_access email", "offline_access openid"])
def test_replay_is_refused_when_another_scope_is_asked_for(family: Family, scope: str) -> None:
    token = family.first()
    family.rotate(token)
    assert family.replay(token, scope=scope) is None


@pytest.mark.parametrize("token", ["", "rt_unknown", "unknown"])
def test_replay_is_refused_when_the_token_is_unknown(family: Family, token: str) -> None:
    assert family.replay(token) is None


def test_response_is_sealed_under_the_presented_token(family: Family) -> None:
    token = family.first()
    successor, response = family.rotate(token)
    row = family.row(token)
    stored = " ".join(str(getattr(row, column.name)) for column in RefreshToken.__table__.columns)
    assert successor not in stored
    assert response["access_token"] not in stored
    assert row.replay is not None
    for secret in (row.token_digest, successor, row.id, ""):
        with pytest.raises(KeyringError):
            open_with_secret(secret, row.replay, "gatepost refresh replay")
    assert successor.encode() in open_with_secret(token, row.replay, "gatepost refresh replay")


class TestWithoutWindow:
    """`GATEPOST_REFRESH_REPLAY_WINDOW=0`: a second use is a reuse, whoever lost an answer."""

    @pytest.fixture
    def gatepost(self, make_gatepost: Callable[..., Gatepost]) -> Gatepost:
        return make_gatepost(refresh_replay_window=0)

    @pytest.fixture
    def work(self, gatepost: Gatepost) -> Iterator[UnitOfWork]:
        with gatepost.work() as work:
            yield work

    def test_nothing_is_kept_or_told_again(self, family: Family) -> None:
        token = family.first()
        family.rotate(token)
        assert family.replay(token) is None
        assert family.row(token).replay is None


# --------------------------------------------------------------------------------------------------------------- reuse


@pytest.mark.spec("RFC 9700 §4.14.2")
@pytest.mark.spec("R-09", "INV-04")
def test_family_ends_for_good_and_audited_when_a_spent_token_comes_back(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        grant = make_grant(work)
        token = Family(work, grant).first()
        Family(work, grant).rotate(token)

    def refuse() -> None:
        with gatepost.work() as work:
            row = find_refresh_token(work, token)
            assert row is not None
            revoke_for_reuse(work, row, presented_by="another-client")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        refuse()
    with gatepost.work() as work:
        found = find_grant(work, grant.id)
        assert found is not None
        assert found.revocation_reason == "refresh_token_reused"
        row = last_audited(work, AuditEvent.REFRESH_TOKEN_REUSED)
        assert (row.user_id, row.client_id) == (grant.user_id, grant.client_id)
        assert row.details == {"presented_by": "another-client"}
        assert last_audited(work, AuditEvent.GRANT_REVOKED).details == {"reason": "refresh_token_reused"}


def test_reuse_is_audited_once_when_the_family_has_ended_already(work: UnitOfWork, family: Family) -> None:
    row = family.row(family.first())
    for _ in range(3):
        revoke_for_reuse(work, row, presented_by=row.client_id)
    assert len(audited(work, AuditEvent.REFRESH_TOKEN_REUSED)) == 1
    assert len(audited(work, AuditEvent.GRANT_REVOKED)) == 1


def test_other_grants_of_the_person_stay_when_one_family_ends(work: UnitOfWork, family: Family) -> None:
    other = make_grant(work, make_client(work), get_user(work, family.grant.user_id))
    revoke_for_reuse(work, family.row(family.first()), presented_by="x")
    assert other.revoked_at is None


def test_reason_of_an_earlier_end_stays_when_a_token_comes_back(work: UnitOfWork, family: Family) -> None:
    row = family.row(family.first())
    revoke_grant(work, family.grant, "signed_out")
    revoke_for_reuse(work, row, presented_by=row.client_id)
    assert family.grant.revocation_reason == "signed_out"
    assert audited(work, AuditEvent.REFRESH_TOKEN_REUSED) == []
