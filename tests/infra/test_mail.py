"""Mail over SMTP, to a real server on this machine: what is sent, over TLS where there is some, and what goes wrong."""

from __future__ import annotations

import base64
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.config import Settings
from server.infra import mail
from server.infra.mail import Letter, MailDelayed, MailRefused
from tests.support.clock import FrozenClock
from tests.support.mail_server import MailServer, mail_server

pytestmark = pytest.mark.slow

LETTER = Letter("mail-1", "bob@example.com", "Join Acme", "A text\nwith ü\n", "<p>A text</p>")
#: An address of this machine that the settings do not know as one.
ELSEWHERE = "127.0.0.2"


def settings_for(server: MailServer, scheme: str = "smtp", host: str = "localhost", **settings: Any) -> Settings:
    login = settings.pop("login", "")
    return Settings(
        _env_file=None,
        issuer="https://login.example.com/tenant",
        smtp_url=f"{scheme}://{login}{host}:{server.port}",
        outbound_ca_file=server.authority,
        **settings,
    )


def send(settings: Settings, letter: Letter = LETTER) -> None:
    mail.send(settings, FrozenClock(), letter)


def test_mail_has_all_its_parts_when_it_arrives() -> None:
    with mail_server() as server:
        send(settings_for(server, issuer_name="Ümlaut ID"))
    (message,) = server.mails
    assert message["From"] == "Ümlaut ID <no-reply@login.example.com>"
    assert (message["To"], message["Subject"]) == ("bob@example.com", "Join Acme")
    assert message["Message-ID"] == "<mail-1@login.example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == FrozenClock().now().replace(microsecond=0)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().splitlines() == ["A text", "with ü"]
    assert html.get_content().splitlines() == ["<p>A text</p>"]
    assert server.heard("MAIL")[0][0].startswith("mail FROM:<no-reply@login.example.com>")


def test_sender_is_the_configured_one_when_there_is_one() -> None:
    with mail_server() as server:
        send(settings_for(server, mail_from="id@example.com"))
    assert server.mails[0]["From"] == "Gatepost <id@example.com>"


def test_server_is_configured_or_not() -> None:
    assert not mail.is_configured(Settings(_env_file=None))
    assert mail.is_configured(Settings(_env_file=None, smtp_url="smtps://mail.example"))


def test_conversation_is_encrypted_from_its_start_when_the_url_says_so(tmp_path: Path) -> None:
    with mail_server(tmp_path, implicit_tls=True) as server:
        server.extensions += ("AUTH PLAIN",)
        send(settings_for(server, "smtps", login="user:p%40ss@"))
    assert len(server.mails) == 1
    assert all(is_tls for _, is_tls in server.commands)
    ((login, _),) = server.heard("AUTH")
    assert base64.b64decode(login.split()[-1]) == b"\0user\0p@ss"


def test_conversation_turns_to_tls_when_the_server_offers_it(tmp_path: Path) -> None:
    with mail_server(tmp_path, host=ELSEWHERE) as server:
        server.extensions += ("AUTH PLAIN",)
        send(settings_for(server, host=ELSEWHERE, login="user:pass@"))
    assert len(server.mails) == 1
    for verb in ("AUTH", "MAIL", "RCPT", "DATA"):
        assert server.heard(verb)
        assert all(is_tls for _, is_tls in server.heard(verb)), verb


def test_password_stays_here_when_the_server_elsewhere_offers_no_tls() -> None:
    with mail_server(host=ELSEWHERE) as server:
        server.extensions += ("AUTH PLAIN",)
        with pytest.raises(MailDelayed, match="no TLS"):
            send(settings_for(server, host=ELSEWHERE, login="user:pass@"))
        assert server.heard("AUTH") == []
        # Without a password there is nothing to lose but what the mail says; so the operator has configured it.
        send(settings_for(server, host=ELSEWHERE))
    assert len(server.mails) == 1


def test_password_goes_to_a_relay_on_this_machine_without_tls() -> None:
    with mail_server() as server:
        server.extensions += ("AUTH PLAIN",)
        send(settings_for(server, login="user:pass@"))
    assert len(server.heard("AUTH")) == len(server.mails) == 1


@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
def test_mail_waits_when_the_certificate_is_nobodys(tmp_path: Path, scheme: str) -> None:
    with mail_server(tmp_path, implicit_tls=scheme == "smtps", host=ELSEWHERE) as server:
        settings = settings_for(replace(server, authority=None), scheme, ELSEWHERE)
        with pytest.raises(MailDelayed):
            send(settings)
    assert server.heard("MAIL") == server.mails == []


@pytest.mark.parametrize(
    ("verb", "answer", "outcome"),
    [
        ("CONNECT", "421 not now", MailDelayed),
        ("CONNECT", "554 never you", MailDelayed),
        ("MAIL", "451 try later", MailDelayed),
        ("MAIL", "550 not from you", MailRefused),
        ("RCPT", "450 mailbox busy", MailDelayed),
        ("RCPT", "550 no such person", MailRefused),
        ("DATA", "421 going down", MailDelayed),
        ("DATA", "552 too much", MailRefused),
        ("END", "451 disk full", MailDelayed),
        ("END", "554 spam", MailRefused),
        ("AUTH", "535 wrong password", MailDelayed),
    ],
)
def test_mail_waits_or_is_given_up_as_the_server_says(verb: str, answer: str, outcome: type[Exception]) -> None:
    with mail_server() as server:
        server.extensions += ("AUTH PLAIN",)
        server.answers[verb] = answer
        with pytest.raises((MailDelayed, MailRefused)) as fault:
            send(settings_for(server, login="user:pass@" if verb == "AUTH" else ""))
    assert fault.type is outcome
    # The server's text may hold anything, and the sentence goes into the audit log.
    assert answer[4:] not in str(fault.value)


def test_mail_waits_when_the_server_is_away_or_silent() -> None:
    with mail_server() as server:
        gone = settings_for(server)
    with pytest.raises(MailDelayed):
        send(gone)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = Settings(
            _env_file=None, smtp_url=f"smtp://localhost:{listener.getsockname()[1]}", outbound_timeout=0.2
        )
        with pytest.raises(MailDelayed):
            send(silent)


@pytest.mark.parametrize(
    "letter",
    [
        replace(LETTER, recipient="not an address"),
        replace(LETTER, recipient="bob@example.com\r\nBcc: eve@example.com"),
        replace(LETTER, subject="Join\r\nBcc: eve@example.com"),
        replace(LETTER, recipient="bob@example.com, eve@example.com"),
        replace(LETTER, text="half a character \ud800"),
    ],
    ids=["no address", "header in the address", "header in the subject", "two addresses", "half a character"],
)
def test_mail_is_given_up_before_it_is_sent_when_it_is_none(letter: Letter) -> None:
    with mail_server() as server:
        with pytest.raises(MailRefused):
            send(settings_for(server), letter)
        assert server.heard("DATA") == []


def test_address_with_other_letters_goes_where_the_server_takes_it() -> None:
    letter = replace(LETTER, recipient="jürgen@example.com")
    with mail_server() as server:
        send(settings_for(server), letter)
        assert server.mails[0]["To"] == "jürgen@example.com"
        server.extensions = ()
        with pytest.raises(MailRefused, match="lacks"):
            send(settings_for(server), letter)
