"""Refresh rotation: one use, one successor, one short window for a lost answer, and the end of the family otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from server.domain.audit_events import AuditEvent
from server.domain.clients import Client, get_client
from server.domain.grants import Grant, revoke_grant
from server.domain.refresh_rotation import Refreshed, find_retry, refresh, revoke_for_reuse
from server.domain.refresh_tokens import KnownRefreshToken, find_refresh_token
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.users import get_user
from server.infra.keyring import Keyring, create_keyring, load_keyring
from tests.domain.factories import audited, find_grant, last_audited, make_client, make_grant, make_refresh_token
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

SCOPE = "openid offline_access"


@dataclass
class Family:
    """One grant and the tokens that follow each other under it."""

    work: UnitOfWork
    grant: Grant

    @property
    def client(self) -> Client:
        return get_client(self.work, self.grant.client_id)

    def first(self) -> str:
        return make_refresh_token(self.work, self.grant)

    def known(self, token: str) -> KnownRefreshToken:
        known = find_refresh_token(self.work, token)
        assert known is not None
        return known

    def refresh(self, token: str, client: Client | None = None, asked: str | None = None) -> Refreshed | None:
        return refresh(self.work, client or self.client, token, asked)

    def rotate(self, token: str, asked: str | None = None) -> Refreshed:
        refreshed = self.refresh(token, asked=asked)
        assert refreshed is not None
        return refreshed

    def next(self, token: str) -> str:
        successor = self.rotate(token).successor
        assert successor is not None
        return successor

    def retry(self, token: str, client: Client | None = None, asked: str | None = None) -> Refreshed | None:
        return find_retry(self.work, client or self.client, token, self.known(token), asked)


@pytest.fixture
def family(work: UnitOfWork) -> Family:
    return Family(work, make_grant(work, scope=SCOPE))


def issued(refreshed: Refreshed | None) -> tuple[object, ...] | None:
    """What an answer is computed from."""
    if refreshed is None:
        return None
    return (refreshed.successor, refreshed.jti, refreshed.at, refreshed.grant.id, refreshed.user.id)


# ------------------------------------------------------------------------------------------------------------- consume


@pytest.mark.spec("RFC 9700 §4.14.2")
def test_token_is_consumed_once(work: UnitOfWork, family: Family, clock: FrozenClock) -> None:
    token = family.first()
    clock.advance(5)
    consumed_at = work.now
    refreshed = family.rotate(token)
    clock.advance(5)
    assert family.refresh(token) is None
    row = family.known(token).row
    assert row.consumed_at == row.last_used_at == refreshed.at == consumed_at
    assert (refreshed.grant.id, refreshed.user.id) == (family.grant.id, family.grant.user_id)


@pytest.mark.parametrize(
    ("rotates", "event"), [(True, AuditEvent.REFRESH_TOKEN_ROTATED), (False, AuditEvent.TOKEN_ISSUED)]
)
def test_refresh_is_counted_as_what_it_was_when_it_succeeds(
    work: UnitOfWork, family: Family, rotates: bool, event: AuditEvent
) -> None:
    def counted() -> int:
        return work.runtime.metrics.snapshot().counts.get(("gatepost_audit_events", event.value), 0)

    family.client.rotate_refresh_tokens = rotates
    token, before = family.first(), counted()
    assert family.refresh(token)
    assert counted() == before + 1
    assert family.refresh("no token of ours") is None
    assert counted() == before + 1


def test_token_is_consumed_once_when_two_requests_send_it(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        family = Family(work, make_grant(work))
        client, token = family.client, family.first()
    with gatepost.work() as one, gatepost.work() as other:
        assert refresh(one, client, token, None)
        assert refresh(other, client, token, None) is None


def test_token_is_free_again_when_the_transaction_that_consumed_it_fails(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        family = Family(work, make_grant(work))
        client, token = family.client, family.first()

    def fail() -> None:
        with gatepost.work() as work:
            work.db.connection()
            assert refresh(work, client, token, None)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with gatepost.work() as work:
        assert refresh(work, client, token, None)


@pytest.mark.parametrize(
    "end",
    [
        lambda work, family: revoke_grant(work, family.grant, "signed_out"),
        lambda work, family: setattr(get_user(work, family.grant.user_id), "disabled_at", work.now),
        lambda work, family: setattr(family.grant, "expires_at", work.now),
    ],
    ids=["grant revoked", "person disabled", "grant expired"],
)
def test_statement_and_choke_point_agree_on_what_is_over(
    work: UnitOfWork, family: Family, end: Callable[[UnitOfWork, Family], object]
) -> None:
    token = family.first()
    known = family.known(token)
    assert is_usable(work.now, known.grant, known.user)
    end(work, family)
    work.db.flush()
    known = family.known(token)
    assert not is_usable(work.now, known.grant, known.user)
    assert family.refresh(token) is None
    assert family.known(token).row.consumed_at is None


def test_statement_accepts_what_lives_a_moment_longer(work: UnitOfWork, family: Family) -> None:
    token = family.first()
    family.grant.expires_at = work.now + timedelta(microseconds=1)
    assert family.refresh(token)


def test_token_stays_when_another_client_sends_it(work: UnitOfWork, family: Family) -> None:
    token = family.first()
    assert family.refresh(token, client=make_client(work)) is None
    assert family.known(token).row.consumed_at is None


def test_rotation_is_audited_with_the_grant(work: UnitOfWork, family: Family) -> None:
    family.rotate(family.first())
    (row,) = audited(work, AuditEvent.REFRESH_TOKEN_ROTATED)
    assert (row.user_id, row.client_id) == (family.grant.user_id, family.grant.client_id)
    assert row.details == {"grant_id": family.grant.id, "grant_type": "refresh_token"}


def test_use_of_a_token_that_stays_is_audited_with_the_grant(work: UnitOfWork) -> None:
    client = make_client(work, rotate_refresh_tokens=False)
    family = Family(work, make_grant(work, client))
    token = family.first()
    family.rotate(token)
    row = audited(work, AuditEvent.TOKEN_ISSUED)[-1]
    assert row.client_id == client.id
    assert row.details == {"grant_id": family.grant.id, "grant_type": "refresh_token"}
    assert audited(work, AuditEvent.REFRESH_TOKEN_ROTATED) == []


# --------------------------------------------------------------------------------------------------------------- retry


def test_very_same_answer_comes_again_when_it_was_lost(family: Family, clock: FrozenClock) -> None:
    token = family.first()
    first = issued(family.rotate(token))
    for _ in range(5):
        clock.advance(5)
        assert issued(family.retry(token)) == first


@pytest.mark.parametrize(("seconds", "is_told"), [(0, True), (29.999, True), (30, True), (30.001, False), (31, False)])
def test_retry_ends_to_the_second_of_its_window(
    family: Family, clock: FrozenClock, seconds: float, is_told: bool
) -> None:
    token = family.first()
    family.rotate(token)
    clock.advance(seconds)
    assert (family.retry(token) is not None) is is_told


def test_nothing_is_retried_before_the_token_was_used(family: Family) -> None:
    assert family.retry(family.first()) is None


def test_retry_ends_when_the_successor_is_used(family: Family, clock: FrozenClock) -> None:
    first = family.first()
    second = family.next(first)
    clock.advance(1)
    refreshed = family.rotate(second)
    assert family.retry(first) is None
    assert issued(family.retry(second)) == issued(refreshed)
    assert refreshed.successor is not None
    family.rotate(refreshed.successor)
    assert family.retry(second) is None


def test_retry_is_refused_when_another_client_asks(work: UnitOfWork, family: Family) -> None:
    token = family.first()
    family.rotate(token)
    assert family.retry(token, client=make_client(work)) is None


@pytest.mark.parametrize(("asked", "again"), [(None, "openid"), ("openid", None), ("openid", "offline_access")])
def test_retry_is_refused_when_another_scope_is_asked_for(family: Family, asked: str | None, again: str | None) -> None:
    token = family.first()
    family.rotate(token, asked)
    assert family.retry(token, asked=again) is None
    assert family.retry(token, asked=asked) is not None


def test_retry_is_answered_when_the_keyring_has_another_active_key_by_now(
    work: UnitOfWork, family: Family, tmp_path: Path
) -> None:
    token = family.first()
    first = issued(family.rotate(token))
    mine = work.runtime.keyring
    create_keyring(tmp_path / "other")
    other = load_keyring(tmp_path / "other")
    assert issued(family.retry(token)) == first
    both = Keyring({**other._keys, **mine._keys}, other.active)
    object.__setattr__(work.runtime, "keyring", both)
    try:
        assert issued(family.retry(token)) == first
        object.__setattr__(work.runtime, "keyring", other)
        assert family.retry(token) is None
    finally:
        object.__setattr__(work.runtime, "keyring", mine)


def test_successors_differ_from_token_to_token_and_from_their_ids(family: Family) -> None:
    seen = {family.first() for _ in range(3)}
    for token in list(seen):
        refreshed = family.rotate(token)
        assert refreshed.successor is not None
        assert refreshed.jti is not None
        assert refreshed.jti not in refreshed.successor
        seen |= {refreshed.successor, refreshed.jti}
    assert len(seen) == 9


class TestWithoutWindow:
    """`GATEPOST_REFRESH_REPLAY_WINDOW=0`: a second use is a reuse, whoever lost an answer."""

    @pytest.fixture
    def gatepost(self, make_gatepost: Callable[..., Gatepost]) -> Gatepost:
        return make_gatepost(refresh_replay_window=0)

    @pytest.fixture
    def work(self, gatepost: Gatepost) -> Iterator[UnitOfWork]:
        with gatepost.work() as work:
            yield work

    def test_nothing_is_told_again(self, family: Family) -> None:
        token = family.first()
        family.rotate(token)
        assert family.retry(token) is None


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
            known = find_refresh_token(work, token)
            assert known is not None
            revoke_for_reuse(work, known, presented_by="another-client")
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
    known = family.known(family.first())
    for _ in range(3):
        revoke_for_reuse(work, known, presented_by=known.row.client_id)
    assert len(audited(work, AuditEvent.REFRESH_TOKEN_REUSED)) == 1
    assert len(audited(work, AuditEvent.GRANT_REVOKED)) == 1


def test_other_grants_of_the_person_stay_when_one_family_ends(work: UnitOfWork, family: Family) -> None:
    other = make_grant(work, make_client(work), get_user(work, family.grant.user_id))
    revoke_for_reuse(work, family.known(family.first()), presented_by="x")
    assert other.revoked_at is None


def test_reason_of_an_earlier_end_stays_when_a_token_comes_back(work: UnitOfWork, family: Family) -> None:
    known = family.known(family.first())
    revoke_grant(work, family.grant, "signed_out")
    revoke_for_reuse(work, known, presented_by=known.row.client_id)
    assert family.grant.revocation_reason == "signed_out"
    assert audited(work, AuditEvent.REFRESH_TOKEN_REUSED) == []
