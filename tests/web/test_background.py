"""The sweeper of each worker: round after round, and no fault ends it."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from server.domain import audit_chain, audit_log, key_rotation, signing_keys
from server.domain.audit_events import AuditEvent
from server.domain.housekeeping import BATCH, remove
from server.domain.login_attempts import LoginAttempts, spend_attempt
from server.domain.policy.lockout import Budget
from server.domain.signing_keys import KeyState
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose
from server.infra.database import database_url
from server.web import background
from server.web.background import Sweeper
from tests.support.application import Gatepost


def spend(gatepost: Gatepost, count: int) -> None:
    with gatepost.work() as work:
        for number in range(count):
            spend_attempt(work, (Budget(f"account:{number}", 1, 60),))
    gatepost.clock.advance(61)


def left(gatepost: Gatepost) -> int:
    with gatepost.work() as work:
        return work.db.query(LoginAttempts).count()


def test_round_goes_on_until_nothing_is_due(gatepost: Gatepost, caplog: pytest.LogCaptureFixture) -> None:
    spend(gatepost, 1100)
    with caplog.at_level(logging.INFO, "server.web.background"):
        Sweeper(gatepost.runtime).sweep_all()
    assert left(gatepost) == 0
    assert [record.args for record in caplog.records] == [{"login_attempts": 1100}]


def test_thread_sweeps_and_ends_when_it_is_told(gatepost: Gatepost) -> None:
    spend(gatepost, 1)
    sweeper = Sweeper(gatepost.runtime, interval_seconds=0.01)
    sweeper.start()
    for _ in range(500):
        if left(gatepost) == 0:
            break
        sweeper.join(0.02)
    sweeper.stop()
    sweeper.join(5)
    assert not sweeper.is_alive()
    assert left(gatepost) == 0


def test_fault_is_logged_and_the_thread_goes_on(gatepost: Gatepost, caplog: pytest.LogCaptureFixture) -> None:
    path = database_url(gatepost.settings).database or ""
    with gatepost.work() as work:
        work.db.connection().exec_driver_sql("ALTER TABLE login_attempts RENAME TO elsewhere")
    sweeper = Sweeper(gatepost.runtime, interval_seconds=0.01)
    sweeper.start()
    for _ in range(500):
        if len(caplog.records) > 1:
            break
        sweeper.join(0.02)
    sweeper.stop()
    sweeper.join(5)
    assert [record.getMessage() for record in caplog.records][:2] == [
        "housekeeping did not finish: OperationalError"
    ] * 2
    assert path not in caplog.text


@pytest.mark.spec("R-34")
def test_batches_shrink_when_they_take_too_long_and_grow_again() -> None:
    assert background._next_size(100, 0.1) == 25
    assert background._next_size(100, 0.001) == 200
    assert background._next_size(400, 0.0) == BATCH
    assert background._next_size(1, 10) == 1


@pytest.mark.spec("R-34")
def test_nothing_is_lost_when_a_round_is_killed_midway(gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch) -> None:
    spend(gatepost, 300)
    sizes = []

    def remove_once(*arguments: Any) -> int:
        if sizes:
            raise KeyboardInterrupt
        sizes.append(len(arguments[2]))
        return remove(*arguments)

    monkeypatch.setattr(background, "remove", remove_once)
    with pytest.raises(KeyboardInterrupt):
        Sweeper(gatepost.runtime).sweep_all()
    assert left(gatepost) == 300 - sizes[0]
    monkeypatch.undo()
    Sweeper(gatepost.runtime).sweep_all()
    assert left(gatepost) == 0


@pytest.mark.spec("R-34")
def test_all_replicas_may_sweep_at_once(gatepost: Gatepost) -> None:
    spend(gatepost, 600)
    sweepers = [threading.Thread(target=Sweeper(gatepost.runtime).sweep_all) for _ in range(4)]
    for sweeper in sweepers:
        sweeper.start()
    for sweeper in sweepers:
        sweeper.join(30)
    assert left(gatepost) == 0


def test_audit_rows_are_sealed_though_nothing_was_swept(gatepost: Gatepost) -> None:
    gatepost.add_user("grace@example.com")
    Sweeper(gatepost.runtime).sweep_all()
    with gatepost.work() as work:
        assert audit_chain.find_head(work) is not None
        assert audit_chain.seal(work) == 0


def test_round_ends_though_audit_rows_keep_coming(gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise nothing is ever swept again, and no key rotates, on a server that is never idle."""
    sweeper, rounds = Sweeper(gatepost.runtime), 0
    real = audit_chain.seal

    def seal_and_write_another(work: UnitOfWork, *, wait: bool = False) -> int:
        nonlocal rounds
        rounds += 1
        assert rounds < 10
        sealed = real(work, wait=wait)
        audit_log.record(work, AuditEvent.LOGIN_FAILED)
        return sealed

    monkeypatch.setattr(audit_chain, "seal", seal_and_write_another)
    gatepost.add_user("grace@example.com")
    sweeper.sweep_all()
    assert rounds == 1


def test_rows_are_sealed_batch_after_batch_when_many_wait(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        for _ in range(250):
            audit_log.record(work, AuditEvent.LOGIN_FAILED)
    Sweeper(gatepost.runtime).sweep_all()
    with gatepost.work() as work:
        assert audit_chain.seal(work) == 0


@pytest.mark.spec("R-13")
def test_keys_rotate_by_themselves_round_after_round(gatepost: Gatepost, caplog: pytest.LogCaptureFixture) -> None:
    with gatepost.work() as work:
        before = {(key.algorithm, key.state): key.kid for key in signing_keys.kept_keys(work)}
    gatepost.clock.advance(89 * 86400)
    with caplog.at_level(logging.INFO, "server.web.background"):
        Sweeper(gatepost.runtime).sweep_all()
    with gatepost.work() as work:
        following = {key.algorithm: key.kid for key in signing_keys.kept_keys(work) if key.state == KeyState.NEXT}
    assert set(following) == set(jose.SIGNING_ALGORITHMS)
    gatepost.clock.advance(86400 + 960)
    Sweeper(gatepost.runtime).sweep_all()
    with gatepost.work() as work:
        after = {(key.algorithm, key.state): key.kid for key in signing_keys.kept_keys(work)}
        for algorithm, kid in following.items():
            assert after[algorithm, KeyState.ACTIVE] == kid
            assert after[algorithm, KeyState.RETIRING] == before[algorithm, KeyState.ACTIVE]
    assert caplog.messages == [f"keys, by schedule: publish {algorithm}" for algorithm in jose.SIGNING_ALGORITHMS]
    rotated = gatepost.audit_rows(AuditEvent.SIGNING_KEY_ROTATED)
    assert {row.actor_id for row in rotated} == {"housekeeping"}


@pytest.mark.spec("R-15")
def test_one_replica_changes_keys_when_all_find_them_due_at_once(gatepost: Gatepost) -> None:
    gatepost.clock.advance(89 * 86400)
    for _ in range(2):
        sweepers = [threading.Thread(target=Sweeper(gatepost.runtime).sweep_all) for _ in range(4)]
        for sweeper in sweepers:
            sweeper.start()
        for sweeper in sweepers:
            sweeper.join(60)
        gatepost.clock.advance(86400 + 960)
    with gatepost.work() as work:
        active = [key.algorithm for key in signing_keys.kept_keys(work) if key.state == KeyState.ACTIVE]
    assert sorted(active) == sorted(signing_keys.ALGORITHMS)
    created = gatepost.audit_rows(AuditEvent.SIGNING_KEY_CREATED)
    assert len(created) == len(signing_keys.ALGORITHMS) + len(jose.SIGNING_ALGORITHMS) + 2
    assert len(gatepost.audit_rows(AuditEvent.SIGNING_KEY_ROTATED)) == len(signing_keys.ALGORITHMS)


def test_keys_stay_when_the_one_who_changes_them_is_killed_midway(
    gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch
) -> None:
    gatepost.clock.advance(91 * 86400)
    Sweeper(gatepost.runtime).sweep_all()
    gatepost.clock.advance(86400 + 960)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(key_rotation, "remove_retired_keys", die)
    with gatepost.work() as work:
        before = [(key.kid, key.state) for key in signing_keys.kept_keys(work)]
    with pytest.raises(KeyboardInterrupt):
        Sweeper(gatepost.runtime).sweep_all()
    with gatepost.work() as work:
        assert [(key.kid, key.state) for key in signing_keys.kept_keys(work)] == before
    monkeypatch.undo()
    Sweeper(gatepost.runtime).sweep_all()
    assert len(gatepost.audit_rows(AuditEvent.SIGNING_KEY_ROTATED)) == len(signing_keys.ALGORITHMS)
