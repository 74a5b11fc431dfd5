"""The chain over the audit rows: whatever is done to a sealed row is found, and named by its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from server.config import Settings
from server.domain import audit_chain, audit_log
from server.domain.actor import OPERATOR, Actor
from server.domain.audit_chain import Checkpoint, find_fault, find_head, seal, sealed_rows
from server.domain.audit_events import AuditEvent
from server.domain.unit_of_work import UnitOfWork, open_runtime
from server.infra.database import open_session
from server.infra.keyring import Keyring, create_keyring
from server.infra.migrations import upgrade

ODD = Actor("user", "usr_\u00e9", "2001:db8::1", "\x1b[31m \u2028 \ud7ff \U0001f600 \"'\\", "req_1")


def write(work: UnitOfWork, count: int = 10) -> None:
    for number in range(count):
        audit_log.record(
            replace(work, actor=ODD), AuditEvent.LOGIN_FAILED, user_id="usr_1", number=number, scopes=["a", "\u00e9"]
        )


def seal_all(work: UnitOfWork) -> int:
    total = 0
    while count := seal(work):
        total += count
    return total


def found(work: UnitOfWork, checkpoint: Checkpoint | None = None) -> tuple[int | None, str] | None:
    fault = find_fault(work, checkpoint)
    return (fault.sequence, fault.message) if fault else None


def tamper(work: UnitOfWork, statement: str) -> None:
    assert work.db.connection().exec_driver_sql(statement).rowcount > 0


@pytest.fixture
def sealed(work: UnitOfWork) -> UnitOfWork:
    write(work)
    seal_all(work)
    return work


def number_of(work: UnitOfWork) -> int:
    head = find_head(work)
    assert head is not None
    return head.sequence


def test_every_row_is_sealed_once_and_without_gaps(sealed: UnitOfWork) -> None:
    rows = list(sealed_rows(sealed))
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    assert len({row.digest for row in rows}) == len(rows)
    assert seal(sealed) == 0
    assert found(sealed) is None


def test_no_more_than_a_batch_is_sealed_at_once(work: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
    seal_all(work)
    monkeypatch.setitem(audit_chain._BATCH, "sqlite", 4)
    write(work)
    assert [seal(work) for _ in range(4)] == [4, 4, 2, 0]
    assert found(work) is None


def test_chain_goes_over_many_pages(sealed: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_chain, "_READ_AT_ONCE", 3)
    reached: list[int] = []
    assert find_fault(sealed, progress=reached.append) is None
    assert reached == list(range(1, number_of(sealed) + 1))


@pytest.mark.spec("L-03")
@pytest.mark.parametrize(
    "change",
    [
        "event = 'login.succeeded'",
        "actor_kind = 'operator'",
        "actor_id = NULL",
        "actor_id = ''",
        "user_id = 'usr_2'",
        "client_id = 'other'",
        "ip = '192.0.2.1'",
        "user_agent = 'curl'",
        "request_id = 'req_2'",
        "details = '{}'",
        "at = datetime(at, '+1 second')",
        "id = id + 1000",
    ],
)
def test_altered_row_is_found_whatever_column_was_altered(sealed: UnitOfWork, change: str) -> None:
    last = number_of(sealed)
    target = f"(SELECT audit_id FROM audit_seals WHERE sequence = {last - 3})"
    tamper(sealed, f"UPDATE audit_events SET {change} WHERE id = {target}")
    broken = found(sealed)
    assert broken is not None
    assert broken[0] == last - 3


@pytest.mark.spec("L-03")
def test_removed_row_is_found_when_its_seal_is_left(sealed: UnitOfWork) -> None:
    tamper(sealed, "DELETE FROM audit_events WHERE id = (SELECT audit_id FROM audit_seals WHERE sequence = 3)")
    assert found(sealed) == (3, "its row was removed")


@pytest.mark.spec("L-03")
def test_removed_row_is_found_when_its_seal_is_removed_too(sealed: UnitOfWork) -> None:
    tamper(sealed, "DELETE FROM audit_events WHERE id = (SELECT audit_id FROM audit_seals WHERE sequence = 3)")
    tamper(sealed, "DELETE FROM audit_seals WHERE sequence = 3")
    assert found(sealed) == (3, "it was removed from the chain")


@pytest.mark.spec("L-03")
def test_removed_row_is_found_when_the_seals_behind_it_move_up(sealed: UnitOfWork) -> None:
    tamper(sealed, "DELETE FROM audit_events WHERE id = (SELECT audit_id FROM audit_seals WHERE sequence = 3)")
    tamper(sealed, "DELETE FROM audit_seals WHERE sequence = 3")
    for sequence in range(4, number_of(sealed) + 1):
        tamper(sealed, f"UPDATE audit_seals SET sequence = {sequence - 1} WHERE sequence = {sequence}")
    assert found(sealed) == (3, "its row was altered, or is not the one that was sealed there")


@pytest.mark.spec("L-03")
def test_swapped_rows_are_found(sealed: UnitOfWork) -> None:
    for before, after in ((3, -3), (4, 3), (-3, 4)):
        tamper(sealed, f"UPDATE audit_seals SET audit_id = {after} WHERE audit_id = {before}")
    assert found(sealed) == (3, "its row was altered, or is not the one that was sealed there")


@pytest.mark.spec("L-03")
@pytest.mark.parametrize("span", [1, 3, 1000])
@pytest.mark.parametrize("number", [-(10**18), 4])
def test_row_put_in_between_is_found(
    sealed: UnitOfWork, monkeypatch: pytest.MonkeyPatch, number: int, span: int
) -> None:
    if number > 0:
        # As if that number had been left out, which PostgreSQL does when a transaction is rolled back.
        sealed.db.connection().exec_driver_sql("UPDATE audit_events SET id = id + 1000 WHERE id >= 4")
        sealed.db.connection().exec_driver_sql("DELETE FROM audit_seals")
        seal_all(sealed)
    tamper(
        sealed,
        "INSERT INTO audit_events (id, at, event, actor_kind, details) "
        f"SELECT {number}, at, event, actor_kind, details FROM audit_events LIMIT 1",
    )
    assert seal(sealed) == 0
    monkeypatch.setattr(audit_chain, "_SPAN", span)
    assert found(sealed) == (None, f"row {number} was put in after its neighbours were sealed")


@pytest.mark.spec("L-03")
def test_sealing_anew_without_the_keyring_is_found(sealed: UnitOfWork) -> None:
    """Somebody who has the database, this source and all the time there is, but not the keyring."""
    name = sealed.runtime.keyring.active
    forger = replace(sealed, runtime=replace(sealed.runtime, keyring=Keyring({name: bytes(32)}, name)))
    tamper(sealed, "UPDATE audit_events SET user_id = 'usr_other' WHERE id = 3")
    tamper(sealed, "DELETE FROM audit_seals")
    seal_all(forger)
    assert found(forger) is None
    assert found(sealed) == (1, "its row was altered, or is not the one that was sealed there")


def test_seal_under_an_unknown_key_is_found(sealed: UnitOfWork) -> None:
    tamper(sealed, "UPDATE audit_seals SET key_name = 'lost' WHERE sequence = 2")
    assert found(sealed) == (2, "it is sealed under a key that is not in this keyring")


def test_chain_holds_when_the_keyring_has_got_a_newer_key(sealed: UnitOfWork) -> None:
    ring = sealed.runtime.keyring
    newer = Keyring({**ring._keys, "newer": b"\x07" * 32}, "newer")
    later = replace(sealed, runtime=replace(sealed.runtime, keyring=newer))
    write(later)
    seal_all(later)
    assert found(later) is None
    assert found(sealed) is not None


@pytest.mark.spec("L-03")
def test_cut_at_the_end_is_found_against_a_checkpoint_only(sealed: UnitOfWork) -> None:
    checkpoint = find_head(sealed)
    assert found(sealed, checkpoint) is None
    last = number_of(sealed)
    tamper(
        sealed, f"DELETE FROM audit_events WHERE id IN (SELECT audit_id FROM audit_seals WHERE sequence > {last - 2})"
    )
    tamper(sealed, f"DELETE FROM audit_seals WHERE sequence > {last - 2}")
    assert found(sealed) is None
    assert found(sealed, checkpoint) == (last, "the checkpoint has it, the database has not: the end was cut off")
    write(sealed, 2)
    seal_all(sealed)
    assert found(sealed, checkpoint) == (last, "the checkpoint has another: the end was cut off and written anew")


def test_row_that_became_visible_late_is_sealed_behind_its_neighbours(
    sealed: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(audit_chain._LATE_ROWS, "sqlite", 100)
    tamper(
        sealed,
        "INSERT INTO audit_events (id, at, event, actor_kind, details) "
        "SELECT -5, at, event, actor_kind, details FROM audit_events LIMIT 1",
    )
    assert seal(sealed) == 1
    assert found(sealed) is None
    assert list(sealed_rows(sealed))[-1].id == -5


def test_rows_of_a_span_of_time_are_told(sealed: UnitOfWork) -> None:
    now = sealed.now
    assert list(sealed_rows(sealed, until=now)) == []
    assert len(list(sealed_rows(sealed, since=now))) == number_of(sealed)


@pytest.fixture
def postgres_work(postgres_url: str, tmp_path: Path) -> Iterator[tuple[UnitOfWork, UnitOfWork]]:
    """Two transactions at once."""
    settings = Settings(_env_file=None, database_url=postgres_url, keys_dir=tmp_path / "keys")
    create_keyring(settings.keys_dir)
    upgrade(settings)
    runtime = open_runtime(settings)
    with open_session(settings) as one, open_session(settings) as other:
        yield UnitOfWork.begin(runtime, one, OPERATOR), UnitOfWork.begin(runtime, other, OPERATOR)


@pytest.mark.postgres
def test_one_seals_at_a_time_on_postgresql_and_no_writer_waits(postgres_work: tuple[UnitOfWork, UnitOfWork]) -> None:
    one, other = postgres_work
    write(one)
    one.db.commit()
    assert seal(one) == 10
    assert seal(other) == 0
    write(other)
    other.db.commit()
    one.db.commit()
    assert seal(other, wait=True) == 10
    assert found(other) is None
    other.db.execute(text("UPDATE audit_events SET details = '{}' WHERE id = 5"))
    assert found(other) == (5, "its row was altered, or is not the one that was sealed there")
