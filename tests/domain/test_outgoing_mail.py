"""Outgoing mail: there exactly when its cause was committed, readable with the keyring alone, sent by one at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from server.domain import outgoing_mail
from server.domain.outgoing_mail import LIFETIME, LeasedMail, Message, OutgoingMail, forget_mail_to, send_later
from tests.support.application import Gatepost

ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture
def gatepost(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    return make_gatepost(smtp_url="smtp://localhost")


def put(gatepost: Gatepost, *recipients: str) -> None:
    with gatepost.work() as work:
        for recipient in recipients:
            assert send_later(work, recipient, "A subject", f"To {recipient}")


def lease(gatepost: Gatepost) -> LeasedMail | None:
    with gatepost.work() as work:
        return outgoing_mail.lease_next(work)


def leased(gatepost: Gatepost) -> LeasedMail:
    found = lease(gatepost)
    assert found is not None
    return found


def test_nothing_is_queued_where_no_mail_server_is_configured(make_gatepost: Callable[..., Gatepost]) -> None:
    with make_gatepost().work() as work:
        assert not send_later(work, ADA, "A subject", "A text")
        assert not outgoing_mail.is_due(work)


def test_mail_is_there_exactly_when_its_cause_is_committed(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        send_later(work, ADA, "A subject", "A text")
        work.db.rollback()
    assert lease(gatepost) is None
    put(gatepost, ADA)
    assert leased(gatepost).recipient == ADA


def test_mail_is_read_as_it_was_written(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        send_later(work, ADA, "Two\r\nlines\tof  it", "A text\n\nwith ü", "<p>A text</p>")
    found = leased(gatepost)
    assert found.message == Message("Two lines of it", "A text\n\nwith ü", "<p>A text</p>")
    assert found.attempts == 1


def test_text_opens_with_the_keyring_alone_and_for_its_recipient_alone(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        send_later(work, ADA, "A subject", "the secret link")
        row = work.db.scalars(select(OutgoingMail)).one()
        assert "secret" not in row.message_encrypted
        assert "subject" not in row.message_encrypted
        row.recipient = "eve@example.com"
    assert leased(gatepost).message is None


def test_mail_is_leased_once_until_the_lease_ends(gatepost: Gatepost) -> None:
    put(gatepost, ADA, BOB)
    assert {leased(gatepost).recipient, leased(gatepost).recipient} == {ADA, BOB}
    assert lease(gatepost) is None
    gatepost.clock.advance(299)
    assert lease(gatepost) is None
    gatepost.clock.advance(1)
    assert leased(gatepost).attempts == 2


def test_longest_due_goes_first(gatepost: Gatepost) -> None:
    put(gatepost, ADA)
    gatepost.clock.advance(1)
    put(gatepost, BOB)
    assert leased(gatepost).recipient == ADA


def test_each_mail_is_leased_once_when_many_ask_at_once(database_url: str, tmp_path: Path) -> None:
    gatepost = Gatepost(tmp_path, database_url=database_url, smtp_url="smtp://localhost")
    put(gatepost, *[f"person{number}@example.com" for number in range(40)])

    def take_all(_: int) -> list[int]:
        taken: list[int] = []
        while found := lease(gatepost):
            taken.append(found.id)
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [number for found in pool.map(take_all, range(4)) for number in found]
    taken += take_all(0)
    assert len(taken) == len(set(taken)) == 40
    gatepost.close()


def test_mail_waits_for_its_pause_when_it_was_put_off(gatepost: Gatepost) -> None:
    put(gatepost, ADA)
    found = leased(gatepost)
    with gatepost.work() as work:
        assert outgoing_mail.put_off(work, found)
        assert not outgoing_mail.is_due(work)
    gatepost.clock.advance(2)
    assert leased(gatepost).attempts == 2


def test_late_news_of_an_attempt_change_nothing_when_another_has_begun(gatepost: Gatepost) -> None:
    put(gatepost, ADA)
    late = leased(gatepost)
    gatepost.clock.advance(300)
    current = leased(gatepost)
    with gatepost.work() as work:
        outgoing_mail.put_off(work, late)
        assert work.db.get_one(OutgoingMail, current.id).next_attempt_at == work.now + timedelta(minutes=5)
        assert outgoing_mail.remove(work, current)
        assert not outgoing_mail.remove(work, late)


def test_mail_is_given_up_when_its_time_is_over(gatepost: Gatepost) -> None:
    put(gatepost, ADA)
    gatepost.clock.advance(LIFETIME.total_seconds() - 1)
    found = leased(gatepost)
    with gatepost.work() as work:
        assert not outgoing_mail.put_off(work, found)
    gatepost.clock.advance(3600)
    with gatepost.work() as work:
        assert not outgoing_mail.is_due(work)


def test_mail_to_one_address_is_dropped_whatever_its_case(gatepost: Gatepost) -> None:
    put(gatepost, ADA, "Ada@Example.com", BOB)
    with gatepost.work() as work:
        assert forget_mail_to(work, "ADA@example.com") == 2
    assert leased(gatepost).recipient == BOB
