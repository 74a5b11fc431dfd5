"""The use of credentials: counted in memory, written once a minute over all processes, and told of when it is odd."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError

from server.domain.actor import Actor
from server.domain.api_key_verification import KeyRefused, verify_api_key
from server.domain.api_keys import ApiKey, revoke_api_key
from server.domain.audit_events import AuditEvent
from server.domain.credential_usage import (
    CredentialNetwork,
    CredentialUsage,
    forget_usage,
    last_use_of,
    usage_of,
)
from server.domain.organizations import create_organization
from server.domain.unit_of_work import Runtime, UnitOfWork
from server.domain.usage_recorder import CAPACITY, MAXIMUM_REFUSALS, PresentedKey, UsageRecorder, network_of
from server.domain.usage_writing import BURST, MAXIMUM_NETWORKS, UsageWriter, flush_usage
from server.infra.database import open_engine
from tests.domain.api_key_factories import ADDRESS, any_gatepost, coming_from, make_api_key
from tests.domain.factories import audited, last_audited, make_client
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock
from tests.support.statements import noted_statements

__all__ = ["any_gatepost"]

DAY = 86400
SOMEBODY = Actor("anonymous", None, ADDRESS, "curl/8")


@pytest.fixture
def key(work: UnitOfWork) -> ApiKey:
    return make_api_key(work, create_organization(work, "Acme"))[0]


def use(work: UnitOfWork, key: ApiKey, times: int = 1, ip: str | None = ADDRESS) -> None:
    for _ in range(times):
        work.runtime.usage.note_use("api_key", key.id, SOMEBODY._replace(ip=ip))


def fail(work: UnitOfWork, key: ApiKey, times: int = 1, reason: str = "insufficient_scope") -> None:
    for _ in range(times):
        work.runtime.usage.note_failure("api_key", key.id, reason, SOMEBODY)


def counts(work: UnitOfWork, key: ApiKey) -> list[tuple[str, int, int]]:
    work.db.expire_all()
    return [(row.day, row.uses, row.failures) for row in usage_of(work, "api_key", key.id)]


def other_process(runtime: Runtime) -> Runtime:
    return replace(runtime, usage=UsageRecorder(runtime.clock))


def test_use_is_counted_and_the_last_one_remembered(work: UnitOfWork, key: ApiKey, clock: FrozenClock) -> None:
    use(work, key, 3, "192.0.2.1")
    clock.advance(5)
    use(work, key, 1)
    fail(work, key, 2)
    flush_usage(work)
    assert counts(work, key) == [("2026-11-22", 4, 2)]
    (row,) = usage_of(work, "api_key", key.id)
    assert (row.last_used_at, row.last_used_ip, row.last_used_user_agent) == (work.now, ADDRESS, "curl/8")
    assert (row.last_failure_at, row.last_failure_reason) == (work.now, "insufficient_scope")
    assert last_use_of(work, "api_key", [key.id]) == {key.id: row}


def test_days_are_counted_apart(work: UnitOfWork, key: ApiKey, clock: FrozenClock) -> None:
    for number in range(3):
        use(work, key, number + 1)
        flush_usage(work)
        clock.advance(DAY)
    assert counts(work, key) == [("2026-11-22", 1, 0), ("2026-11-23", 2, 0), ("2026-11-24", 3, 0)]
    assert [row.day for row in usage_of(work, "api_key", key.id, days=2)] == ["2026-11-24"]
    assert last_use_of(work, "api_key", [key.id])[key.id].day == "2026-11-24"


def test_last_use_is_not_a_failure(work: UnitOfWork, key: ApiKey, clock: FrozenClock) -> None:
    fail(work, key)
    flush_usage(work)
    assert last_use_of(work, "api_key", [key.id]) == {}
    clock.advance(DAY)
    use(work, key)
    flush_usage(work)
    clock.advance(DAY)
    fail(work, key)
    flush_usage(work)
    assert last_use_of(work, "api_key", [key.id, "key_other"])[key.id].day == "2026-11-23"


@pytest.mark.spec("K-07")
@pytest.mark.spec("INV-35")
def test_key_is_written_once_a_minute_over_all_processes(any_gatepost: Gatepost) -> None:
    with any_gatepost.work() as work:
        key, _ = make_api_key(work, create_organization(work, "Acme"))
    processes = [other_process(any_gatepost.runtime) for _ in range(3)]
    written: list[float] = []
    any_gatepost.clock.advance(-12 * 3600 - 90)  # over midnight, as day rows are two
    for second in range(0, 300, 5):
        for process in processes:
            for _ in range(7):
                process.usage.note_use("api_key", key.id, SOMEBODY)
            with any_gatepost.work() as work:
                before = rows_of(work, key)
                flush_usage(replace(work, runtime=process))
                work.db.flush()
                if rows_of(work, key) != before:
                    written.append(second)
        any_gatepost.clock.advance(5)
    assert all(later - earlier >= 60 for earlier, later in pairwise(written)), written
    assert len(written) == 5
    for process in processes:
        with any_gatepost.work() as work:
            flush_usage(replace(work, runtime=process), now_or_never=True)
    with any_gatepost.work() as work:
        assert sum(uses for _, uses, _ in counts(work, key)) == 60 * 3 * 7
        assert len(counts(work, key)) == 2


def rows_of(work: UnitOfWork, key: ApiKey) -> list[tuple[object, ...]]:
    columns = CredentialUsage.__table__.columns
    query = select(*columns).where(CredentialUsage.credential_id == key.id).order_by(CredentialUsage.day)
    return [tuple(row) for row in work.db.execute(query)]


@pytest.mark.spec("K-07")
def test_processes_that_write_at_once_write_once(any_gatepost: Gatepost) -> None:
    with any_gatepost.work() as work:
        organization = create_organization(work, "Acme")
        keys = [make_api_key(work, organization)[0] for _ in range(5)]
    processes = [other_process(any_gatepost.runtime) for _ in range(8)]
    for process in processes:
        for key in keys:
            process.usage.note_use("api_key", key.id, SOMEBODY)

    def flush(process: Runtime) -> int:
        with any_gatepost.work() as work:
            flush_usage(replace(work, runtime=process))
        return len(keys) - len(process.usage)

    with ThreadPoolExecutor(8) as executor:
        written = sum(executor.map(flush, processes))
    assert written == len(keys)
    with any_gatepost.work() as work:
        assert [counts(work, key) for key in keys] == [[("2026-11-22", 1, 0)]] * len(keys)
        assert work.db.scalar(select(func.count()).select_from(CredentialNetwork)) == len(keys)


@pytest.mark.spec("K-07")
def test_proof_writes_nothing_and_does_not_fail_when_nobody_writes(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        key, text = make_api_key(work, create_organization(work, "Acme"))
    with noted_statements(gatepost.engines) as seen, gatepost.work() as work:
        for _ in range(100):
            verify_api_key(work, text)
    assert {statement.split()[0] for statement in seen} == {"SELECT"}
    assert len(seen) == 100
    with gatepost.work() as work:
        flush_usage(work)
        assert counts(work, key) == [("2026-11-22", 100, 0)]


def test_what_is_not_written_waits_with_what_comes_after(gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch) -> None:
    with gatepost.work() as work:
        organization = create_organization(work, "Acme")
        key, _ = make_api_key(work, organization)
        ended, text = make_api_key(work, organization)
        revoke_api_key(work, ended, "lost")
    engine, writer = open_engine(gatepost.settings), UsageWriter(gatepost.runtime)
    with gatepost.work() as work:
        use(work, key, 2)
        with pytest.raises(KeyRefused):
            verify_api_key(work, text)

    def be_away(*given: object) -> None:
        raise OperationalError("", None, Exception())

    event.listen(engine, "before_cursor_execute", be_away)
    writer.write_all(engine)
    event.remove(engine, "before_cursor_execute", be_away)
    with gatepost.work() as work:
        use(work, key)
        with pytest.raises(KeyRefused):
            verify_api_key(work, text)
    writer.write_all(engine)
    engine.dispose()
    with gatepost.work() as work:
        assert counts(work, key) == [("2026-11-22", 3, 0)]
        assert counts(work, ended) == [("2026-11-22", 0, 2)]
        assert last_audited(work, AuditEvent.API_KEY_REFUSED).details["count"] == 2


def test_thread_writes_what_is_left_when_it_ends(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        key, _ = make_api_key(work, create_organization(work, "Acme"))
        use(work, key)
        flush_usage(work)
        use(work, key)
    writer = UsageWriter(gatepost.runtime, interval_seconds=3600)
    writer.start()
    writer.stop()
    writer.join(timeout=10)
    assert not writer.is_alive()
    with gatepost.work() as work:
        assert counts(work, key) == [("2026-11-22", 2, 0)]


def test_memory_has_an_end(gatepost: Gatepost) -> None:
    recorder = UsageRecorder(gatepost.clock)
    for number in range(CAPACITY + 10):
        recorder.note_use("api_key", f"key_{number}", SOMEBODY)
        recorder.note_refusal(PresentedKey(str(number), (), ADDRESS), SOMEBODY)
    assert len(recorder) == CAPACITY
    assert len(recorder.take_refused()) == MAXIMUM_REFUSALS
    recorder.note_failure("api_key", "key_1", "x", SOMEBODY)
    noted = recorder.take()
    assert (len(noted), noted["api_key", "key_1", "2026-11-22"].failures) == (CAPACITY, 1)
    recorder.give_back(noted)
    assert len(recorder) == CAPACITY


# What is unusual -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2::7", "2001:db8:1::/48"),
        ("unix:", "unix:"),
    ],
)
def test_address_is_in_the_network_of_its_site(ip: str, network: str) -> None:
    assert network_of(ip) == network


def test_new_network_is_told_of_once_and_the_first_ones_never(
    work: UnitOfWork, key: ApiKey, clock: FrozenClock
) -> None:
    use(work, key, 1, "192.0.2.1")
    use(work, key, 1, "198.51.100.1")
    flush_usage(work)
    assert audited(work, AuditEvent.API_KEY_NETWORK_ADDED) == []
    for ip in ("192.0.2.250", "203.0.113.1", "203.0.113.2", "203.0.113.1"):
        clock.advance(60)
        use(work, key, 1, ip)
        flush_usage(work)
    (row,) = audited(work, AuditEvent.API_KEY_NETWORK_ADDED)
    assert (row.details["key_id"], row.details["network"]) == (key.id, "203.0.113.0/24")
    assert row.organization_id == key.organization_id


def test_key_that_is_used_from_anywhere_is_not_told_of_for_ever(
    work: UnitOfWork, key: ApiKey, clock: FrozenClock
) -> None:
    for number in range(MAXIMUM_NETWORKS + 10):
        use(work, key, 1, f"198.51.{number}.1")
        clock.advance(60)
        flush_usage(work)
    assert len(audited(work, AuditEvent.API_KEY_NETWORK_ADDED)) == min(50, MAXIMUM_NETWORKS - 1)
    assert work.db.scalar(select(func.count()).select_from(CredentialNetwork)) == MAXIMUM_NETWORKS


def test_burst_of_failures_is_told_of_once_an_hour(work: UnitOfWork, key: ApiKey, clock: FrozenClock) -> None:
    def failures(times: int) -> int:
        fail(work, key, times)
        flush_usage(work)
        clock.advance(60)
        return len(audited(work, AuditEvent.API_KEY_FAILURES_NOTICED))

    assert failures(BURST - 1) == 0
    assert [failures(BURST) for _ in range(60)] == [1] * 60
    assert failures(BURST) == 2
    row = last_audited(work, AuditEvent.API_KEY_FAILURES_NOTICED)
    assert row.details["key_id"] == key.id
    assert (row.details["count"], row.details["reason"]) == (BURST, "insufficient_scope")


def test_clients_are_counted_as_keys_are(work: UnitOfWork, clock: FrozenClock) -> None:
    client = make_client(work)
    for ip in ("192.0.2.1", "203.0.113.1"):
        work.runtime.usage.note_use("client", client.id, SOMEBODY._replace(ip=ip))
        for _ in range(BURST):
            work.runtime.usage.note_failure("client", client.id, "wrong_secret", SOMEBODY)
        flush_usage(work)
        clock.advance(60)
    assert [(row.uses, row.failures) for row in usage_of(work, "client", client.id)] == [(2, 2 * BURST)]
    assert last_audited(work, AuditEvent.CLIENT_NETWORK_ADDED).client_id == client.id
    assert last_audited(work, AuditEvent.CLIENT_FAILURES_NOTICED).client_id == client.id


def test_refusals_alike_are_told_of_in_one_row(work: UnitOfWork, clock: FrozenClock) -> None:
    organization = create_organization(work, "Acme")
    key, text = make_api_key(work, organization, ip_allow_list=["192.0.2.7"])
    for ip in (ADDRESS, ADDRESS, ADDRESS, "198.51.100.1"):
        with pytest.raises(KeyRefused):
            verify_api_key(coming_from(work, ip), text)
    flush_usage(work)
    flush_usage(work)
    rows = audited(work, AuditEvent.API_KEY_REFUSED)
    assert sorted((str(row.ip), row.details["count"]) for row in rows) == [("198.51.100.1", 1), (ADDRESS, 3)]
    assert counts(work, key) == [("2026-11-22", 0, 4)]


def test_nothing_is_kept_of_a_credential_that_is_gone(work: UnitOfWork, key: ApiKey) -> None:
    use(work, key)
    work.runtime.usage.note_use("api_key", "key_unknown", SOMEBODY)
    flush_usage(work)
    assert forget_usage(work, "client", [key.id]) == 0
    assert forget_usage(work, "api_key", [key.id]) == 2
    use(work, key)
    work.db.delete(key)
    work.db.flush()
    flush_usage(work)
    for table in (CredentialUsage, CredentialNetwork):
        assert work.db.scalar(select(func.count()).select_from(table)) == 0


def test_key_used_after_a_pause_of_years_is_written(
    make_gatepost: Callable[..., Gatepost],
) -> None:
    gatepost = make_gatepost(api_key_lifetime=10 * 365 * DAY)
    with gatepost.work() as work:
        key, _ = make_api_key(work, create_organization(work, "Acme"))
        use(work, key)
        flush_usage(work)
        gatepost.clock.advance(timedelta(days=800).total_seconds())
        use(work, key)
        flush_usage(work)
        assert last_use_of(work, "api_key", [key.id])[key.id].last_used_at == work.now
