"""The thread that sends mail: to a real server on this machine, once, with patience, and told of in the audit log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from server.domain import invitations, organizations
from server.domain.outgoing_mail import OutgoingMail, send_later
from server.infra import draining
from server.web.mail_worker import MailWorker
from tests.support.application import Gatepost
from tests.support.flow import form_fields
from tests.support.mail_server import MailServer, mail_server

pytestmark = pytest.mark.slow

PATIENCE = 60.0
BOB = "bob@example.com"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as found:
        yield found


@pytest.fixture
def gatepost(make_gatepost: Callable[..., Gatepost], server: MailServer) -> Gatepost:
    return make_gatepost(smtp_url=f"smtp://localhost:{server.port}")


@pytest.fixture
def start(gatepost: Gatepost) -> Iterator[Callable[[], MailWorker]]:
    """Starts workers that end with the test."""
    workers = []

    def start_worker() -> MailWorker:
        worker = MailWorker(gatepost.runtime, interval_seconds=0.02)
        worker.start()
        workers.append(worker)
        return worker

    yield start_worker
    for worker in workers:
        worker.stop()
        worker.join(PATIENCE)


def put(gatepost: Gatepost, recipient: str = BOB, text: str = "A text", html: str | None = None) -> None:
    with gatepost.work() as work:
        send_later(work, recipient, "A subject", text, html)


def left(gatepost: Gatepost) -> list[OutgoingMail]:
    with gatepost.work() as work:
        return list(work.db.scalars(select(OutgoingMail)))


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_person_joins_by_the_link_that_arrives(
    gatepost: Gatepost, server: MailServer, start: Callable[[], MailWorker]
) -> None:
    start()
    with gatepost.work() as work:
        acme = organizations.create_organization(work, "Acme <b>GmbH</b>")
        invitations.invite(work, acme, BOB, "member", None)
    wait_until(lambda: server.mails)
    (message,) = server.mails
    assert message["To"] == BOB
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    (link,) = (line for line in text.get_content().splitlines() if line.startswith("http"))
    assert f'<a href="{link}">{link}</a>' in html.get_content()
    assert "Acme &lt;b&gt;GmbH&lt;/b&gt;" in html.get_content()
    page = gatepost.browser().get(link.removeprefix(gatepost.settings.issuer))
    assert "There is no account with this address yet." in page.text
    assert form_fields(page.text)
    wait_until(lambda: not left(gatepost))
    (row,) = gatepost.audit_rows("mail.delivered")
    assert row.details["attempts"] == 1
    assert BOB not in str(row.details)


def test_only_a_line_that_is_an_address_of_ours_becomes_a_link(
    gatepost: Gatepost, server: MailServer, start: Callable[[], MailWorker]
) -> None:
    put(gatepost, text="http://localhost:8000/a\n\nhttp://evil.example/b\n\nhttp://localhost:8000/c d\n\n<i>e</i>")
    start()
    wait_until(lambda: server.mails)
    html = server.mails[0].get_body(("html",))
    assert html is not None
    assert html.get_content().count("<a ") == 1
    assert '<a href="http://localhost:8000/a">' in html.get_content()
    assert "&lt;i&gt;e&lt;/i&gt;" in html.get_content()


def test_html_goes_as_it_was_given_when_it_was(
    gatepost: Gatepost, server: MailServer, start: Callable[[], MailWorker]
) -> None:
    put(gatepost, html="<p>own</p>")
    start()
    wait_until(lambda: server.mails)
    html = server.mails[0].get_body(("html",))
    assert html is not None
    assert html.get_content().strip() == "<p>own</p>"


def test_each_mail_goes_once_when_several_workers_send(
    gatepost: Gatepost, server: MailServer, start: Callable[[], MailWorker]
) -> None:
    for number in range(12):
        put(gatepost, f"person{number}@example.com")
    for _ in range(3):
        start()
    wait_until(lambda: not left(gatepost))
    assert sorted(message["To"] for message in server.mails) == sorted(f"person{n}@example.com" for n in range(12))
    assert len({message["Message-ID"] for message in server.mails}) == 12
    assert len(gatepost.audit_rows("mail.delivered")) == 12


def test_mail_is_given_up_when_the_server_refuses_it(
    gatepost: Gatepost, server: MailServer, start: Callable[[], MailWorker]
) -> None:
    server.answers["RCPT"] = "550 no such person"
    put(gatepost)
    start()
    wait_until(lambda: not left(gatepost))
    (row,) = gatepost.audit_rows("mail.abandoned")
    assert row.details["reason"] == "the mail server answered 550"
    assert server.mails == []


def test_mail_goes_later_under_the_same_number_when_the_server_is_in_trouble(
    gatepost: Gatepost, server: MailServer, start: Callable[[], MailWorker]
) -> None:
    server.answers["END"] = "451 disk full"
    put(gatepost)
    start()
    wait_until(lambda: server.mails)
    server.answers.clear()
    # Put off by seconds, which is sooner than its lease would end.
    wait_until(lambda: (left(gatepost)[0].next_attempt_at - gatepost.clock.now()).total_seconds() < 60)
    assert gatepost.audit_rows("mail.abandoned") == []
    gatepost.clock.advance(300)
    wait_until(lambda: not left(gatepost))
    assert len({message["Message-ID"] for message in server.mails}) == 1
    assert gatepost.audit_rows("mail.delivered")[0].details["attempts"] == 2


def test_mail_is_given_up_when_its_time_is_over(
    gatepost: Gatepost, server: MailServer, start: Callable[[], MailWorker]
) -> None:
    server.answers["CONNECT"] = "421 not now"
    put(gatepost)
    gatepost.clock.advance(2 * 86400 - 1)
    start()
    wait_until(lambda: not left(gatepost))
    assert len(gatepost.audit_rows("mail.abandoned")) == 1


def test_mail_is_given_up_when_it_does_not_open_with_this_keyring(
    gatepost: Gatepost, server: MailServer, start: Callable[[], MailWorker]
) -> None:
    put(gatepost)
    with gatepost.work() as work:
        work.db.scalars(select(OutgoingMail)).one().recipient = "eve@example.com"
    start()
    wait_until(lambda: not left(gatepost))
    assert "keyring" in str(gatepost.audit_rows("mail.abandoned")[0].details["reason"])
    assert server.connections == 0


def test_nothing_is_sent_any_more_when_the_server_is_about_to_end(
    gatepost: Gatepost, server: MailServer, start: Callable[[], MailWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "is_draining", lambda: True)
    put(gatepost)
    start()
    time.sleep(0.2)
    assert server.connections == 0
    assert len(left(gatepost)) == 1


def test_worker_goes_on_when_the_database_was_away_or_a_fault_met(
    gatepost: Gatepost,
    server: MailServer,
    start: Callable[[], MailWorker],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults: list[Exception] = [OperationalError("SELECT", {}, Exception()), RuntimeError("planted")]
    turn = MailWorker.turn

    def failing(self: MailWorker, engine: object) -> bool:
        if faults:
            raise faults.pop(0)
        return turn(self, engine)  # type: ignore[arg-type]

    monkeypatch.setattr(MailWorker, "turn", failing)
    put(gatepost)
    start()
    wait_until(lambda: server.mails)
    assert "outgoing mail waits for the database: OperationalError" in caplog.text
    assert "outgoing mail met a fault" in caplog.text


def test_worker_ends_at_once_where_no_mail_server_is_configured(make_gatepost: Callable[..., Gatepost]) -> None:
    worker = MailWorker(make_gatepost().runtime)
    worker.start()
    worker.join(PATIENCE)
    assert not worker.is_alive()
