"""The outbox: there exactly when its cause was committed, leased to one sender at a time, and put off with patience."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from server.domain import outbox
from server.domain.clients import delete_client
from server.domain.outbox import LIFETIME, Leased, OutboxMessage
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import make_client
from tests.support.application import Gatepost

TOPIC = "test"
#: Twice the default time of an attempt, and five seconds.
LEASE = 15


def make_clients(gatepost: Gatepost, *names: str) -> None:
    with gatepost.work() as work:
        for name in names:
            make_client(work, client_id=name)


def put(gatepost: Gatepost, *client_ids: str) -> None:
    with gatepost.work() as work:
        outbox.put(work, TOPIC, [(client_id, {"number": number}) for number, client_id in enumerate(client_ids)])


def lease(gatepost: Gatepost, limit: int = 100, each: int = 100, **options: tuple[str, ...]) -> list[Leased]:
    with gatepost.work() as work:
        return outbox.lease_due(work, TOPIC, limit, each, **options)


def count(gatepost: Gatepost) -> int:
    with gatepost.work() as work:
        return len(work.db.scalars(select(OutboxMessage.id)).all())


@pytest.mark.spec("R-35", "INV-38")
def test_message_is_there_exactly_when_its_cause_is_committed(gatepost: Gatepost) -> None:
    make_clients(gatepost, "app")
    with gatepost.work() as work:
        outbox.put(work, TOPIC, [("app", {})])
        work.db.rollback()
    assert count(gatepost) == 0
    put(gatepost, "app")
    assert count(gatepost) == 1


@pytest.mark.spec("R-39")
def test_message_is_leased_once_until_the_lease_ends(gatepost: Gatepost) -> None:
    make_clients(gatepost, "app")
    put(gatepost, "app", "app")
    first = lease(gatepost)
    assert [message.payload for message in first] == [{"number": 0}, {"number": 1}]
    assert [message.attempts for message in first] == [1, 1]
    assert lease(gatepost) == []
    gatepost.clock.advance(LEASE - 1)
    assert lease(gatepost) == []
    gatepost.clock.advance(1)
    assert [message.attempts for message in lease(gatepost)] == [2, 2]


@pytest.mark.spec("R-39")
def test_lease_lasts_longer_than_an_attempt_when_attempts_may_take_long(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(outbound_timeout=20)
    make_clients(gatepost, "app")
    put(gatepost, "app")
    lease(gatepost)
    gatepost.clock.advance(44)
    assert lease(gatepost) == []
    gatepost.clock.advance(1)
    assert len(lease(gatepost)) == 1


@pytest.mark.spec("R-39")
def test_each_message_is_leased_once_when_many_ask_at_once(database_url: str, tmp_path: Path) -> None:
    gatepost = Gatepost(tmp_path, database_url=database_url)
    make_clients(gatepost, "one", "two", "three")
    put(gatepost, *["one", "two", "three"] * 40)

    def take_all(_: int) -> list[int]:
        taken: list[int] = []
        while found := lease(gatepost, limit=7, each=3):
            taken += [message.id for message in found]
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [number for found in pool.map(take_all, range(4)) for number in found]
    assert len(taken) == len(set(taken))
    # Who met only rows that others held has stopped early; what is left is taken now.
    taken += take_all(0)
    assert sorted(taken) == sorted(set(taken))
    assert len(taken) == 120
    gatepost.close()


def test_message_taken_by_another_process_meanwhile_is_not_taken_again(gatepost: Gatepost) -> None:
    make_clients(gatepost, "app")
    put(gatepost, "app")
    (message,) = lease(gatepost)
    with gatepost.work() as work:
        assert outbox._take(work, [message.id]) == []


def test_client_gets_its_share_and_no_more_when_another_has_many_messages(gatepost: Gatepost) -> None:
    make_clients(gatepost, "busy", "calm", "slow")
    put(gatepost, *["busy"] * 50, "calm", "slow", "slow")
    found = [message.client_id for message in lease(gatepost, limit=10, each=3, once=("slow",))]
    assert sorted(found) == ["busy", "busy", "busy", "calm", "slow"]
    found = [message.client_id for message in lease(gatepost, limit=2, each=3, besides=("busy",))]
    assert found == ["slow"]


def test_other_clients_are_found_when_one_fills_the_window(gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_WINDOW", 5)
    make_clients(gatepost, "busy", "calm")
    put(gatepost, *["busy"] * 9, "calm")
    assert {message.client_id for message in lease(gatepost, each=2)} == {"busy"}
    assert {message.client_id for message in lease(gatepost, each=2, besides=("busy",))} == {"calm"}


def test_only_messages_of_the_topic_are_leased(gatepost: Gatepost) -> None:
    make_clients(gatepost, "app")
    put(gatepost, "app")
    with gatepost.work() as work:
        assert outbox.lease_due(work, "another", 10, 10) == []


@pytest.mark.spec("R-37")
def test_pause_doubles_up_to_a_quarter_of_an_hour_and_differs_by_message() -> None:
    assert [outbox.pause_after(attempts).total_seconds() for attempts in (1, 2, 3, 10, 11, 10**6)] == [
        1, 2, 4, 512, 900, 900,
    ]  # fmt: skip
    assert len({outbox.pause_after(5, number) for number in range(16)}) == 16
    assert all(timedelta(seconds=16) <= outbox.pause_after(5, number) < timedelta(seconds=24) for number in range(99))


def test_message_waits_for_its_pause_when_it_was_put_off(gatepost: Gatepost) -> None:
    make_clients(gatepost, "app")
    put(gatepost, "app")
    (message,) = lease(gatepost)
    with gatepost.work() as work:
        assert outbox.put_off(work, message)
        assert not outbox.is_due(work)
    gatepost.clock.advance(2)
    with gatepost.work() as work:
        assert outbox.is_due(work)
    assert [again.attempts for again in lease(gatepost)] == [2]


def test_late_news_of_an_attempt_change_nothing_when_another_has_begun(gatepost: Gatepost) -> None:
    make_clients(gatepost, "app")
    put(gatepost, "app")
    (late,) = lease(gatepost)
    gatepost.clock.advance(LEASE)
    (current,) = lease(gatepost)
    with gatepost.work() as work:
        outbox.put_off(work, late)
        row = work.db.get_one(OutboxMessage, current.id)
        assert row.next_attempt_at == work.now + timedelta(seconds=LEASE)


def test_message_is_given_up_when_its_time_is_over(gatepost: Gatepost) -> None:
    make_clients(gatepost, "app")
    put(gatepost, "app")
    gatepost.clock.advance(LIFETIME.total_seconds() - 1)
    (message,) = lease(gatepost)
    with gatepost.work() as work:
        assert not outbox.put_off(work, message)
    gatepost.clock.advance(3600)
    assert lease(gatepost) == []


def test_messages_go_with_their_client(gatepost: Gatepost, work: UnitOfWork) -> None:
    client = make_client(work, client_id="app")
    outbox.put(work, TOPIC, [("app", {})])
    delete_client(work, client)
    assert work.db.scalars(select(OutboxMessage.id)).all() == []


def test_nothing_is_written_when_there_is_nobody_to_tell(work: UnitOfWork) -> None:
    outbox.put(work, TOPIC, [])
    assert not outbox.is_due(work)
